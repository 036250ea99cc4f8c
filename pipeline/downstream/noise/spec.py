"""Noise tagging: whether a point belongs to no particle of interest."""

from typing import ClassVar, Literal

from pipeline.downstream.points import ClassTask

NOISE = ("particle", "noise")


class NoiseTask(ClassTask):
    """Noise tagging: points of secondaries below 60 MeV/c, and of nobody."""

    TITLE: ClassVar[str] = "noise tagging"
    NAMES: ClassVar[tuple[str, ...]] = NOISE
    PER_POINT: ClassVar[tuple[str, ...]] = ("noise",)

    task: Literal["noise"] = "noise"
