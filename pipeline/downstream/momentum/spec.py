"""Momentum regression: the transverse momentum of the particle that made each point."""

from typing import ClassVar, Literal

from pipeline.downstream.points import PointHead


class MomentumHead(PointHead):
    """The transverse momentum of the particle that made each point, where it is known."""

    TITLE: ClassVar[str] = "momentum regression"
    PER_POINT: ClassVar[tuple[str, ...]] = ("pt_gev", "track")
    SHOWN: ClassVar[dict[str, str]] = {
        "resolution": "pT resolution",
        "relative_bias": "pT bias",
        "rms_log_ratio": "RMS of ln ratio",
    }
    SMALL: ClassVar[frozenset[str]] = frozenset({"resolution", "rms_log_ratio"})

    task: Literal["momentum"] = "momentum"
