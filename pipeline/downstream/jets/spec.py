"""Jet classification."""

from typing import Any, ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from pipeline.downstream.task import Head

Pooling = Literal["sum", "attention", "token"]
JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


class JetHead(Head):
    """Classes of jets, in the order of their labels, the first of them the background.

    `pooling` "sum" is OmniJet-alpha's summation head; "attention" a learned query that looks at
    the constituents, with `heads` heads; "token" a layer on the state that the backbone has for the
    jet (the mean of the constituents where it has none), the published head of ParT, ParticleNet
    and Deep Sets.

    `labels` are those of each class, where several labels make one class or some are left out: b-,
    c- and light jets are [[1], [2], [3]] of JetClass, H to bb, cc and gg. A jet whose label is in
    no class is neither learnt nor scored. Without it, class 0 is label 0, and so on.
    """

    TITLE: ClassVar[str] = "jet classification"
    SOURCE: ClassVar[str] = "arXiv:2403.05618, §3.3"
    PER_EVENT: ClassVar[tuple[str, ...]] = ("label",)
    SHOWN: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "auc": "AUC",
        "rejection_50": "1/εB at εS = 0.5",
        "rejection_30": "1/εB at εS = 0.3",
        "sic_max": "max εS/√εB",
        "calibration_error": "Calibration error",
    }
    SMALL: ClassVar[frozenset[str]] = frozenset({"calibration_error"})

    task: Literal["jets"] = "jets"
    classes: tuple[str, ...] = JETCLASS
    labels: tuple[tuple[NonNegativeInt, ...], ...] = ()
    pooling: Pooling = "sum"
    heads: PositiveInt = 8

    @model_validator(mode="after")
    def _several(self) -> Self:
        """Check that there are classes to tell apart, each with a name and labels of its own."""
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            message = f"classes {list(self.classes)}: give two or more, each once"
            raise ValueError(message)
        every = [label for labels in self.labels for label in labels]
        as_many = len(self.labels) == len(self.classes) and all(self.labels)
        if self.labels and (len(set(every)) != len(every) or not as_many):
            message = f"labels: give those of each of the {len(self.classes)} classes, each once"
            raise ValueError(message)
        return self

    def told(self) -> tuple[Any, ...]:
        """Return what is told, the classes too."""
        return *super().told(), self.classes, self.labels
