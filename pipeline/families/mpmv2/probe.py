"""MPMv2 probed: hidden constituents, predicted and drawn, beside what they are.

Axes: P constituents, packed · M masked · D features.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluation.distances import wasserstein, with_interval
from pipeline.evaluation.result import EvaluationResult, Histogram, histogram, mean_interval
from pipeline.families.jet_columns import IMPACT
from pipeline.families.mpmv2.heads import features
from pipeline.families.mpmv2.module import Pretrainer
from pipeline.families.mpmv2.spec import KINEMATICS
from pipeline.probing import Subject

TITLES = {"pt_log": "pT of masked constituents, standardised", "deta": "4 Δη", "dphi": "4 Δφ"}
CLASSES = ("identity", "tokens", "clusters")
Found = dict[str, NDArray[np.float64]]


def probe(subject: Subject) -> EvaluationResult:
    """Return how often classes are correct, and how far drawn features are from the truth.

    `accuracy_…` is over masked constituents, beside that of always naming the most frequent;
    intervals are over jets. `error_…` is the mean error of what is regressed, over that of saying
    the median. `w1_…` are Wasserstein-1 distances of features as the model takes them.
    """
    module = subject.system.module
    assert isinstance(module, Pretrainer)
    found = _found(subject, module)
    scores: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    about: dict[str, str] = {}
    for name in (name for name in CLASSES if name in module.heads):
        scores |= _accuracies(found, name)
        intervals[f"accuracy_{name}"] = _interval(found, name, subject.seed)
        about[f"accuracy_{name}"] = f"share of masked constituents whose {name} is put first"
        about[f"accuracy_{name}_most_frequent"] = "of always naming the most frequent"
    names = (*KINEMATICS, *IMPACT)[: module.model.features]
    if "regression" in module.heads:
        for at, name in enumerate(names):
            true, predicted = found["features"][:, at], found["regression"][:, at]
            spread = np.abs(true - np.median(true)).mean()
            if spread:
                scores[f"error_{name}"] = float(np.abs(true - predicted).mean() / spread)
                about[f"error_{name}"] = "mean absolute error over that of saying the median"
    histograms: list[Histogram] = []
    for kind in (kind for kind in ("cnf", "cfm", "ssfm") if kind in module.heads):
        for at, name in enumerate(names[: len(KINEMATICS)]):
            pair = found["features"][:, at], found[kind][:, at]
            score = f"w1_{name}_{kind}"
            scores[score], intervals[score] = with_interval(wasserstein, *pair, seed=subject.seed)
            about[score] = "Wasserstein-1 of masked constituents, true and drawn"
            histograms.append(histogram(f"{TITLES[name]}, by {kind}", *pair))
    return EvaluationResult(scores, intervals, about=about, histograms=histograms)


def _accuracies(found: Found, name: str) -> dict[str, float]:
    """Return the accuracy of a head, and of always naming the most frequent."""
    true = found[f"true_{name}"].astype(np.int64)
    return {
        f"accuracy_{name}": float(found[f"right_{name}"].mean()),
        f"accuracy_{name}_most_frequent": float(np.bincount(true).max() / len(true)),
    }


def _interval(found: Found, name: str, seed: int) -> tuple[float, float]:
    """Return the 68 % interval of an accuracy, jets drawn anew."""
    _, event = np.unique(found["event"], return_inverse=True)
    counts = np.bincount(event).astype(np.float64)
    means = np.bincount(event, weights=found[f"right_{name}"]) / counts
    return mean_interval(means, counts, seed=seed)


@torch.no_grad()
def _found(subject: Subject, module: Pretrainer) -> Found:
    """Return what is predicted and drawn of all masked constituents, and what is true."""
    parts: list[dict[str, Tensor]] = []
    first = 0
    for each in subject.batches():
        batch = each.to(subject.device)
        masked = module(batch)
        rows, drawn = module.sample(batch)
        assert torch.equal(rows, masked.rows)
        here = {"event": batch.event[rows] + first, "features": features(module.model, batch, rows)}
        for name in CLASSES:
            if name in masked.predictions:
                prediction = masked.predictions[name]
                here[f"true_{name}"] = prediction.true
                here[f"right_{name}"] = prediction.predicted.argmax(1) == prediction.true
        if "regression" in masked.predictions:
            here["regression"] = masked.predictions["regression"].predicted
        parts.append(here | drawn)
        first += len(batch.sizes)
    return {
        name: torch.cat([each[name] for each in parts]).double().cpu().numpy() for name in parts[0]
    }
