"""Neutrino direction."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from pipeline.downstream.task import Head


class DirectionHead(Head):
    """Where a neutrino came from, as a unit vector: PolarBERT's head."""

    TITLE: ClassVar[str] = "neutrino direction"
    SOURCE: ClassVar[str] = "github.com/timinar/PolarBERT, NeurIPS 2024 workshop ML4PS"
    PER_EVENT: ClassVar[tuple[str, ...]] = ("azimuth", "zenith")
    SHOWN: ClassVar[dict[str, str]] = {
        "mean_angle_rad": "Mean angle, rad",
        "median_deg": "Median, °",
        "p68_deg": "68 %, °",
        "p90_deg": "90 %, °",
    }
    SMALL: ClassVar[frozenset[str]] = frozenset(SHOWN)

    task: Literal["direction"] = "direction"
    inner: PositiveInt = 1024
