"""Neutrino direction."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveInt

from pipeline.downstream.predicted import Predicted
from pipeline.downstream.task import DownstreamTask


class DirectionTask(DownstreamTask):
    """Where a neutrino came from, as a unit vector: PolarBERT's task."""

    TITLE: ClassVar[str] = "neutrino direction"
    SOURCE: ClassVar[str] = "github.com/timinar/PolarBERT, NeurIPS 2024 workshop ML4PS"
    PER_EVENT: ClassVar[tuple[str, ...]] = ("azimuth", "zenith")
    SCORES: ClassVar[dict[str, str]] = {
        "mean_angle_rad": "Mean angle, rad",
        "median_deg": "Median, °",
        "p68_deg": "68 %, °",
        "p90_deg": "90 %, °",
    }
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset(SCORES)
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset({"charge", "time"})

    task: Literal["direction"] = "direction"
    inner: PositiveInt = 1024

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the unit vector towards the origin of the neutrino."""
        return {"direction": Predicted("event", tuple(f"direction_{axis}" for axis in "xyz"), "1")}
