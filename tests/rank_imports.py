"""What the process imports and loads that ranks are forked from: it then costs no rank anything."""

import deepspeed  # noqa: F401
import numpy as np
import torch._dynamo  # noqa: F401 - an optimiser's first step imports it
import zarr  # noqa: F401

import pipeline.data.loading
import pipeline.nn.systems
import pipeline.training.steps.loop  # noqa: F401
from pipeline.data.loading import rows

# The first call of a compiled function loads all of numba, half a second.
TWO_EVENTS = np.array([0, 1, 2])
ROWS = np.zeros((2, 4), np.float32)
rows.scatter(ROWS, 0, TWO_EVENTS, TWO_EVENTS[:2], np.zeros_like(ROWS))
