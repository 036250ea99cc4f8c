"""Momentum regression: the transverse momentum of the particle that made each point."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pipeline.downstream.points import PointTask
from pipeline.downstream.predicted import Predicted


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

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the logarithm of the transverse momentum of each point's particle."""
        return {"log_pt": Predicted("point", unit="ln(pT/GeV)")}
