"""The link that this process belongs to, from the environment that its batch script sets."""

import os
import time
from dataclasses import dataclass, field

from pipeline.job import batch_job_id
from pipeline.precision import PRECISIONS

STARTED, STARTED_AT = time.time(), time.monotonic()


def now() -> float:
    """Return the seconds since 1970 by a clock that never jumps: as this process began, and on."""
    return STARTED + time.monotonic() - STARTED_AT


@dataclass(frozen=True)
class Link:
    """One batch job of a training's chain, on its machine; what is unknown is 0 or empty.

    `started` is when the batch script began (in a pack, where many share a job, when the process
    did), `ends` when the scheduler ends it, both in seconds since 1970; None without a walltime.
    `node_failures` are per 1000 days of one node, `peak_tflops` of one device, by precision.
    """

    key: str = ""
    job_id: str = ""
    started: float = STARTED
    ends: float | None = None
    signal_lead_seconds: int = 0
    nodes: int = 1
    node_failures: float = 0.0
    peak_tflops: dict[str, float] = field(default_factory=dict)

    @property
    def mean_seconds_to_failure(self) -> float | None:
        """The mean time between failures of the link's nodes together; None if they never fail."""
        rate = self.node_failures * self.nodes / 1000 / 86400
        return 1 / rate if rate else None

    @property
    def is_ending(self) -> bool:
        """Whether the walltime is so near that the scheduler has sent its signal."""
        return self.ends is not None and now() >= self.ends - self.signal_lead_seconds


def this_link() -> Link:
    """Return the link of this process, from its environment."""
    get = os.environ.get
    ends = get("COSMOTRON_ENDS")
    peaks = {name: get(f"COSMOTRON_PEAK_TFLOPS_{name.upper()}") for name in PRECISIONS}
    return Link(
        key=get("COSMOTRON_LINK", ""),
        job_id=batch_job_id(),
        started=float(get("COSMOTRON_STARTED", STARTED)),
        ends=float(ends) if ends else None,
        signal_lead_seconds=int(get("COSMOTRON_SIGNAL_LEAD_SECONDS", 0)),
        nodes=int(get("COSMOTRON_NODES", 1)),
        node_failures=float(get("COSMOTRON_NODE_FAILURES", 0)),
        peak_tflops={name: float(peak) for name, peak in peaks.items() if peak is not None},
    )
