"""A signal that nobody labelled, found by telling two mixed samples apart."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.downstream.jets.spec import JETCLASS, Pooling, refused
from pipeline.downstream.predicted import Predicted, classes
from pipeline.downstream.task import DownstreamTask


class AnomalyTask(DownstreamTask):
    """Classification without labels, CWoLa: what tells two mixtures apart tells signal too.

    Jets of the classes `signal` are the signal, all others background. A share `fraction` of the
    sample "data" is signal, and a share `reference` of the other; which jet is in which is drawn
    from its id and `draw`. Half the background is in each; signal that neither needs is left out.
    The head is trained on the samples alone, and scored on what is true. `share` is that of signal
    in the store, by default as where all classes have as many jets.
    """

    TITLE: ClassVar[str] = "anomaly search without labels"
    SOURCE: ClassVar[str] = "arXiv:1708.02949, §2"
    PER_EVENT: ClassVar[tuple[str, ...]] = ("label",)
    SCORES: ClassVar[dict[str, str]] = {
        "sic_max": "max εS/√εB",
        "sic_1e-2": "εS/√εB at εB = 1 %",
        "auc": "AUC",
        "rejection_50": "1/εB at εS = 0.5",
        "rejection_30": "1/εB at εS = 0.3",
        "auc_samples": "AUC of the samples",
    }
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset()

    task: Literal["anomaly"] = "anomaly"
    classes: tuple[str, ...] = JETCLASS
    signal: tuple[str, ...] = Field(min_length=1)
    fraction: float = Field(default=0.05, gt=0, lt=1)
    reference: float = Field(default=0.0, ge=0, lt=1)
    share: float | None = Field(default=None, gt=0, lt=1)
    draw: NonNegativeInt = 0
    pooling: Pooling = "sum"
    heads: PositiveInt = 8

    @model_validator(mode="after")
    def _can_be_mixed(self) -> Self:
        """Check that there is signal and background, and signal enough."""
        unknown = set(self.signal) - set(self.classes)
        if unknown or not set(self.classes) - set(self.signal):
            message = (
                f"signal {list(self.signal)}: give some, not all, of {', '.join(self.classes)}"
            )
            raise ValueError(message)
        if self.reference >= self.fraction:
            message = f"reference {self.reference}: give less than fraction {self.fraction}"
            raise ValueError(message)
        needed = sum(self.kept)
        if needed > 1:
            message = (
                f"fraction {self.fraction}: that takes {needed:.3g} times the signal that there is,"
                f" a share of {self.signal_share:.3g}; give less, or another `share`"
            )
            raise ValueError(message)
        return self

    def refuses_labels(self, possible: frozenset[int], certain: frozenset[int]) -> str:
        """Return which classes no event has, or which labels no class has; empty for none."""
        return refused(self.classes, (), possible, certain)

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the probabilities of the other sample, and of the data."""
        return {"probabilities": classes("event", ("other", "data"))}

    @property
    def signal_share(self) -> float:
        """The share of signal in the store."""
        return len(set(self.signal)) / len(self.classes) if self.share is None else self.share

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of the signal."""
        return tuple(self.classes.index(name) for name in self.signal)

    @property
    def kept(self) -> tuple[float, float]:
        """The shares of all signal that are in the data, and in the other sample."""
        background = (1 - self.signal_share) / 2
        data, other = (f / (1 - f) * background for f in (self.fraction, self.reference))
        return data / self.signal_share, other / self.signal_share
