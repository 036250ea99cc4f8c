"""Two mixed samples of jets told apart (Metodiev, Nachman, Thaler, arXiv:1708.02949).

The likelihood ratio of two mixtures of signal and background rises with that of signal to
background, if one holds more signal: so the best classifier of the samples is the best of signal.
Axes: B jets · E jets of a split.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.downstream.anomaly.spec import AnomalyHead
from pipeline.downstream.jets.module import teller
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import beyond

TOLD = "probabilities"
NEITHER, OTHER, DATA = -1, 0, 1
# Of samples that are told apart nothing of this says how well signal is.
OF_LABELS = ("auc", "rejection_50", "rejection_30", "sic_max", "sic_1e-2", "sic_1e-3")


def build(head: AnomalyHead, model: Family) -> nn.Module:
    """Return the head, which gives logits (B, 2): of the other sample, and of the data."""
    return teller(model, 2, head.pooling, head.heads)


def loss(output: Tensor, batch: Batch, head: AnomalyHead) -> dict[str, Tensor]:
    """Return the cross-entropy of the sample of each jet, nats: a mean over all jets of the batch.

    A jet that is in neither counts as 0, so that the mean is over the same jets at any world size.

    Raises:
        BadInput: A label is none of the classes.
    """
    label = batch.per_event["label"]
    if beyond(label, len(head.classes)):
        message = (
            f"labels from {int(label.min())} to {int(label.max())}; the head knows "
            f"{len(head.classes)} classes: {', '.join(head.classes)}. Name all of them, in the "
            "order of the labels."
        )
        raise BadInput(message)
    which = samples(label.cpu().numpy(), batch.event_id.cpu().numpy(), head)
    sample = torch.from_numpy(which).to(output.device)
    entropy = functional.cross_entropy(
        output.float(), sample, ignore_index=NEITHER, reduction="sum"
    )
    return {"sample": entropy / len(sample)}


def samples(
    label: NDArray[np.integer], event_id: NDArray[np.int64], head: AnomalyHead
) -> NDArray[np.int64]:
    """Return the sample of each jet (B): 1 the data, 0 the other, -1 neither.

    It follows from the id alone, so it is the same in every epoch and on every process.
    """
    lot = uniform(event_id, head.draw)
    data, other = head.kept
    of_signal = np.where(lot < data, DATA, np.where(lot < data + other, OTHER, NEITHER))
    of_background = np.where(lot < 0.5, DATA, OTHER)
    return np.where(np.isin(label, head.labels), of_signal, of_background)


def uniform(event_id: NDArray[np.int64], draw: int) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each id (B): SplitMix64 of the id and the draw.

    Steele, Lea, Flood, Fast splittable pseudorandom number generators (OOPSLA 2014), figure 16.
    """
    with np.errstate(over="ignore"):  # numbers of 64 bits that wrap around
        x = event_id.astype(np.uint64) + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def answer(output: Tensor, batch: Batch, head: AnomalyHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the probabilities (B, 2) of the other sample, and of the data."""
    return {TOLD: output.float().softmax(-1)}


def score(told: Rows, truth: Truth, head: AnomalyHead, seed: int) -> Look:
    """Return how well signal is told from background, of all jets, and the samples from another."""
    label = truth.per_event["label"].astype(np.int64)
    probabilities = told[TOLD]
    is_signal = np.isin(label, head.labels).astype(np.int64)
    names = ("background", "signal")
    of_signal = evaluate_classes(is_signal, probabilities, None, names=names, seed=seed)
    which = samples(label, truth.event_id, head)
    there = which != NEITHER
    names = ("other", "data")
    of_samples = evaluate_classes(which[there], probabilities[there], None, names=names, seed=seed)
    data, other = (_share(is_signal[which == each]) for each in (DATA, OTHER))
    scores = {name: of_signal.scores[name] for name in OF_LABELS}
    scores |= {
        "auc_samples": of_samples.scores["auc"],
        "signal_in_data": data,
        "signal_in_other": other,
    }
    about = {name: of_signal.about[name] for name in OF_LABELS} | {
        "auc": "area under the ROC curve of signal and background",
        "auc_samples": "of the two samples, all that the head was trained to tell",
        "signal_in_data": "share of signal in the data, as drawn",
        "signal_in_other": "share of signal in the other sample, as drawn",
    }
    intervals = {name: of_signal.intervals[name] for name in OF_LABELS}
    intervals["auc_samples"] = of_samples.intervals["auc"]
    curves = [each for each in of_signal.curves if each.name != "calibration"]
    return Look(scores, intervals, about, curves=curves)


def _share(is_signal: NDArray[np.int64]) -> float:
    """Return the share of signal, NaN of nothing."""
    return float(is_signal.mean()) if len(is_signal) else float("nan")
