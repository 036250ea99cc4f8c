"""A downstream task that a test plants: which points are of hard particles."""

from typing import ClassVar, Literal

from pydantic import PositiveFloat

from pipeline.downstream.task import DownstreamTask


class HardTask(DownstreamTask):
    """Points of particles above a momentum."""

    TITLE: ClassVar[str] = "hard particles"
    SOURCE: ClassVar[str] = "tests/additions"
    PER_POINT: ClassVar[tuple[str, ...]] = ("pt_gev",)
    SCORES: ClassVar[dict[str, str]] = {"hard_accuracy": "Hard points, accuracy"}

    task: Literal["hard"] = "hard"
    above_gev: PositiveFloat = 0.5
