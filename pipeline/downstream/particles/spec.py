"""Particle identification: the kind of particle that made each point."""

from typing import ClassVar, Literal

from pipeline.downstream.points import ClassTask

PARTICLES = ("other", "pion", "kaon", "proton", "electron")


class ParticleTask(ClassTask):
    """Particle identification: 0 other, 1 pion, 2 kaon, 3 proton, 4 electron."""

    TITLE: ClassVar[str] = "particle identification"
    NAMES: ClassVar[tuple[str, ...]] = PARTICLES
    PER_POINT: ClassVar[tuple[str, ...]] = ("pid",)

    task: Literal["particles"] = "particles"
