"""Momentum regression: the transverse momentum of the particle that made each point."""

from typing import ClassVar, Literal

from pipeline.downstream.points import PointTask


class MomentumTask(PointTask):
    """The transverse momentum of the particle that made each point, where it is known."""

    TITLE: ClassVar[str] = "momentum regression"
    PER_POINT: ClassVar[tuple[str, ...]] = ("pt_gev", "track")
    SCORES: ClassVar[dict[str, str]] = {
        "resolution": "pT resolution",
        "relative_bias": "pT bias",
        "rms_log_ratio": "RMS of ln ratio",
    }
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset({"resolution", "rms_log_ratio"})
    ZERO_IS_BEST: ClassVar[frozenset[str]] = frozenset({"relative_bias"})

    task: Literal["momentum"] = "momentum"
