"""Jet classification."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from pipeline.downstream.predicted import Predicted, classes
from pipeline.downstream.task import DownstreamTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.downstream.truth import Truth

REJECTION = "rejection_"  # before the name of a class, or a signal efficiency
Pooling = Literal["sum", "class-attention", "attention", "token", "mean"]
JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def refused(
    classes: Sequence[str],
    labels: Sequence[Sequence[int]],
    possible: frozenset[int],
    certain: frozenset[int],
) -> str:
    """Return which of the classes no event has, or which labels no class has; empty for none.

    Without `labels` class n has the label n, and each label needs a class.
    """
    of_class = labels or [(number,) for number in range(len(classes))]
    without = [
        name for name, its in zip(classes, of_class, strict=True) if possible.isdisjoint(its)
    ]
    has = f"its events have {labels_named(possible)}"
    if without:
        return (
            f"{has}, so none is of class {', '.join(without)}. Name the classes that it has, in "
            "the order of their labels, or give each its `labels`."
        )
    stray = certain - {each for its in of_class for each in its}
    if stray and not labels:
        return (
            f"its events have {labels_named(certain)}, and {labels_named(stray)} is none of the "
            f"{len(classes)} classes. Name all of them, in the order of their labels, or give each "
            "its `labels`."
        )
    return ""


def labels_named(labels: frozenset[int]) -> str:
    """Return labels as people read them."""
    if not labels:
        return "no label"
    low, high = min(labels), max(labels)
    if len(labels) == high - low + 1 > 2:
        return f"the labels {low} to {high}"
    names = ", ".join(map(str, sorted(labels)))
    return f"the label {names}" if len(labels) == 1 else f"the labels {names}"


class JetTask(DownstreamTask):
    """Classes of jets, in the order of their labels, the first of them the background.

    `pooling` "sum" is OmniJet-alpha's summation head, "class-attention" its other one: a token that
    attends to itself and the constituents, three times, with `heads` heads. "attention" is ours: a
    learned query that attends to the constituents once. "token" is a layer on the state that the
    backbone has for the jet (the mean of the constituents where it has none), the published head of
    ParT, ParticleNet and Deep Sets; "mean" that of MPM: a layer without bias on each constituent,
    to `inner` channels (0: as many as it has), their mean, and a layer.

    `labels` are those of each class, where several labels make one class or some are left out: b-,
    c- and light jets are [[1], [2], [3]] of JetClass, H to bb, cc and gg. A jet whose label is in
    no class is neither learnt nor scored. Without it, class 0 is label 0, and so on.
    """

    TITLE: ClassVar[str] = "jet classification"
    SOURCE: ClassVar[str] = "arXiv:2403.05618, §3.3"
    PER_EVENT: ClassVar[tuple[str, ...]] = ("label",)
    SCORES: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "auc": "AUC",
        "rejection_50": "1/εB at εS = 0.5",
        "rejection_30": "1/εB at εS = 0.3",
        "sic_max": "max εS/√εB",
        "calibration_error": "Calibration error",
    }
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset({"calibration_error"})
    CHARTED: ClassVar[tuple[str, ...]] = ("accuracy", "auc")
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset()

    task: Literal["jets"] = "jets"
    classes: tuple[str, ...] = JETCLASS
    labels: tuple[tuple[NonNegativeInt, ...], ...] = ()
    pooling: Pooling = "sum"
    heads: PositiveInt = 8
    inner: NonNegativeInt = 0

    @model_validator(mode="after")
    def _distinct_classes(self) -> Self:
        """Check that there are two classes or more, each with its own name and labels."""
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            message = f"classes {list(self.classes)}: give two or more, each once"
            raise ValueError(message)
        every = [label for labels in self.labels for label in labels]
        as_many = len(self.labels) == len(self.classes) and all(self.labels)
        if self.labels and (len(set(every)) != len(every) or not as_many):
            message = f"labels: give those of each of the {len(self.classes)} classes, each once"
            raise ValueError(message)
        return self

    def refuses_labels(self, possible: frozenset[int], certain: frozenset[int]) -> str:
        """Return which classes no event has, or which labels no class has; empty for none."""
        return refused(self.classes, self.labels, possible, certain)

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the probability of each class."""
        return {"probabilities": classes("event", self.classes)}

    def predicts(self) -> tuple[Any, ...]:
        """Return what is predicted, the classes too."""
        return *super().predicts(), self.classes, self.labels

    def titles(self, scores: Iterable[str]) -> Mapping[str, str]:
        """Return the titles of `SCORES` and, of more than two classes, a rejection for each."""
        per_class = (name for name in scores if name.startswith(REJECTION))
        return self.SCORES | {
            name: f"1/εB, {name.removeprefix(REJECTION)}"
            for name in per_class
            if name not in self.SCORES and not name.endswith("_interval")
        }

    def truth_to_show(self, truth: "Truth") -> "dict[str, NDArray[Any]]":
        """Return the truth, the classes in place of the labels."""
        classes = self.beside("score").classes_of(truth.per_event["label"], self)
        return super().truth_to_show(truth) | {"label": classes}
