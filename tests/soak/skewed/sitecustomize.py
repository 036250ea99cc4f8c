"""Python finds this at its start on a host whose clock is off; see `soak.bed`."""

import os
import time

SKEW_SECONDS = float(os.environ.get("COSMOTRON_SOAK_SKEW", "0"))
_time, _time_ns = time.time, time.time_ns

if SKEW_SECONDS:
    time.time = lambda: _time() + SKEW_SECONDS
    time.time_ns = lambda: _time_ns() + round(1e9 * SKEW_SECONDS)
