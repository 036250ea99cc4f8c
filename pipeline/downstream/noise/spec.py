"""Noise tagging: whether a point belongs to no particle of interest."""

from typing import ClassVar, Literal

from pipeline.downstream.points import ClassHead

NOISE = ("particle", "noise")


class NoiseHead(ClassHead):
    """Noise tagging: points of secondaries below 60 MeV/c, and of nobody."""

    TITLE: ClassVar[str] = "noise tagging"
    NAMES: ClassVar[tuple[str, ...]] = NOISE
    PER_POINT: ClassVar[tuple[str, ...]] = ("noise",)

    task: Literal["noise"] = "noise"
