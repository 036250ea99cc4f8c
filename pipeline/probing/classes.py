"""Models pretrained on classes probed: how well they classify jets never seen.

Axes: B jets of a batch · J jets · C classes.
"""

import numpy as np
import torch

from pipeline.data.errors import BadInput
from pipeline.downstream.jets.spec import JETCLASS
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import EvaluationResult
from pipeline.nn.class_losses import LABEL
from pipeline.probing import Subject


def probe(subject: Subject) -> EvaluationResult:
    """Return accuracy, AUC, rejections and calibration.

    Raises:
        BadInput: The model predicts what is no number.
    """
    true = subject.events.per_event[LABEL].astype(np.int64)
    probabilities = predicted(subject)
    if not np.isfinite(probabilities).all():
        message = "the model predicts probabilities that are no numbers. Did its training diverge?"
        raise BadInput(message)
    names = names_of(probabilities.shape[1], subject.store.manifest.experiment)
    return evaluate_classes(true, probabilities, None, names=names, seed=subject.seed)


def names_of(classes: int, experiment: str) -> tuple[str, ...]:
    """Return the names of so many classes: those of JetClass where the store is of it."""
    if experiment == "jetclass" and classes == len(JETCLASS):
        return JETCLASS
    return tuple(f"class {number}" for number in range(classes))


@torch.no_grad()
def predicted(subject: Subject) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the probability of each class (J, C)."""
    several = []
    for batch in subject.batches():
        logits = subject.system.module(batch.to(subject.device))
        several.append(logits.double().softmax(-1).cpu().numpy())
    return np.concatenate(several)
