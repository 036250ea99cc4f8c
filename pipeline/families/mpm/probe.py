"""MPM probed: what it predicts of hidden constituents, beside what is true.

Axes: M hidden constituents · F inputs.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluation.result import EvaluationResult, mean_interval
from pipeline.families.mpm.module import Pretrainer
from pipeline.families.mpm.spec import COLUMNS
from pipeline.probing import Subject

Found = dict[str, NDArray[np.float64]]


def probe(subject: Subject) -> EvaluationResult:
    """Return how often classes are correct, or how far regressed inputs are from the truth.

    `accuracy_…` is over hidden constituents, beside that of always naming the most frequent; its
    interval is over jets. `error_…` is the mean error of what is regressed, over that of saying
    the median.
    """
    module = subject.system.module
    assert isinstance(module, Pretrainer)
    found, task = _found(subject, module), module.model.task
    return errors(found) if task == "regression" else accuracy(found, task, subject.seed)


def accuracy(found: Found, task: str, seed: int) -> EvaluationResult:
    """Return the accuracy of `task`, and that of always naming the most frequent class."""
    right = found["right"]
    _, event = np.unique(found["event"], return_inverse=True)
    counts = np.bincount(event).astype(np.float64)
    means = np.bincount(event, weights=right) / counts
    name = f"accuracy_{task}"
    frequent = np.bincount(found["true"].astype(np.int64)).max() / len(right)
    return EvaluationResult(
        {name: float(right.mean()), f"{name}_most_frequent": float(frequent)},
        {name: mean_interval(means, counts, seed=seed)},
        about={
            name: f"share of hidden constituents whose {task} are put first",
            f"{name}_most_frequent": "of always naming the most frequent",
        },
    )


def errors(found: Found) -> EvaluationResult:
    """Return the mean absolute error of each regressed input, over that of saying the median."""
    scores = {}
    for at, name in enumerate(COLUMNS):
        true, predicted = found["true"][:, at], found["predicted"][:, at]
        spread = np.abs(true - np.median(true)).mean()
        if spread:
            scores[f"error_{name}"] = float(np.abs(true - predicted).mean() / spread)
    about = dict.fromkeys(scores, "mean absolute error over that of saying the median")
    return EvaluationResult(scores, about=about)


@torch.no_grad()
def _found(subject: Subject, module: Pretrainer) -> Found:
    """Return jet and truth of all constituents that are hidden, and the prediction.

    That is `predicted` (M, F), or of classes whether the first is `right` (M).
    """
    parts: list[dict[str, Tensor]] = []
    first = 0
    for each in subject.batches():
        batch = each.to(subject.device)
        masked = module(batch)
        here = {"event": batch.event[masked.rows] + first, "true": masked.true}
        if module.model.task == "regression":
            parts.append(here | {"predicted": masked.predicted})
        else:
            parts.append(here | {"right": masked.predicted.argmax(1) == masked.true})
        first += len(batch.sizes)
    return {
        name: torch.cat([each[name] for each in parts]).double().cpu().numpy() for name in parts[0]
    }
