"""What each point is: the kind of particle that made it, noise or not, its momentum."""

from typing import ClassVar, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from pipeline.heads.head import Head

PARTICLES = ("other", "pion", "kaon", "proton", "electron")
NOISE = ("particle", "noise")


class PointHead(Head):
    """A block of self-attention over the points of an event, and a linear layer."""

    SOURCE: ClassVar[str] = "arXiv:2508.14087: one self-attention head"

    width: PositiveInt = 256
    heads: PositiveInt = 8

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.width % self.heads:
            message = f"width {self.width} is no multiple of heads {self.heads}: change either"
            raise ValueError(message)
        return self


class ClassHead(PointHead):
    """Points in classes, by a focal loss whose exponent is `gamma` (0: cross-entropy)."""

    PLACE: ClassVar[str] = "pipeline.training.downstream.points"
    NAMES: ClassVar[tuple[str, ...]]
    SHOWN: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "macro_recall": "Recall, macro",
        "macro_precision": "Precision, macro",
        "macro_f1": "F1, macro",
    }

    gamma: NonNegativeFloat = 2.0


class ParticleHead(ClassHead):
    """Particle identification: 0 other, 1 pion, 2 kaon, 3 proton, 4 electron."""

    TITLE: ClassVar[str] = "particle identification"
    NAMES: ClassVar[tuple[str, ...]] = PARTICLES
    PER_POINT: ClassVar[tuple[str, ...]] = ("pid",)

    task: Literal["particles"] = "particles"


class NoiseHead(ClassHead):
    """Noise tagging: points of secondaries below 60 MeV/c, and of nobody."""

    TITLE: ClassVar[str] = "noise tagging"
    NAMES: ClassVar[tuple[str, ...]] = NOISE
    PER_POINT: ClassVar[tuple[str, ...]] = ("noise",)

    task: Literal["noise"] = "noise"


class MomentumHead(PointHead):
    """The transverse momentum of the particle that made each point, where it is known."""

    TITLE: ClassVar[str] = "momentum regression"
    PLACE: ClassVar[str] = "pipeline.training.downstream.momentum"
    PER_POINT: ClassVar[tuple[str, ...]] = ("pt_gev", "track")
    SHOWN: ClassVar[dict[str, str]] = {
        "resolution": "pT resolution",
        "relative_bias": "pT bias",
        "rms_log_ratio": "RMS of ln ratio",
    }
    SMALL: ClassVar[frozenset[str]] = frozenset({"resolution", "rms_log_ratio"})

    task: Literal["momentum"] = "momentum"
