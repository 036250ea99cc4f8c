"""Two mixed samples of jets told apart (Metodiev, Nachman, Thaler, arXiv:1708.02949).

The likelihood ratio of two mixtures of signal and background rises with that of signal to
background, if one holds more signal: so the best classifier of the samples is the best of signal.
Axes: B jets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.downstream.anomaly.score import NEITHER, PREDICTION, samples
from pipeline.downstream.anomaly.spec import AnomalyTask
from pipeline.downstream.jets.module import classifier
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import LABEL, beyond


def build(task: AnomalyTask, model: Family) -> nn.Module:
    """Return the head, which gives logits (B, 2): of the other sample, and of the data."""
    return classifier(model, 2, task.pooling, task.heads)


def loss(output: Tensor, batch: Batch, task: AnomalyTask) -> dict[str, Tensor]:
    """Return the cross-entropy of the sample of each jet, nats: a mean over all jets of the batch.

    A jet that is in neither counts as 0, so that the mean is over the same jets at any world size.

    Raises:
        BadInput: A label is none of the classes.
    """
    label = batch.per_event["label"]
    if beyond(batch, len(task.classes)):
        least, largest = batch.range_of(LABEL)
        message = (
            f"labels from {least} to {largest}; the head knows "
            f"{len(task.classes)} classes: {', '.join(task.classes)}. Name all of them, in the "
            "order of the labels."
        )
        raise BadInput(message)
    which = samples(label.cpu().numpy(), batch.event_id.cpu().numpy(), task)
    sample = torch.from_numpy(which).to(output.device)
    entropy = functional.cross_entropy(
        output.float(), sample, ignore_index=NEITHER, reduction="sum"
    )
    return {"sample": entropy / len(sample)}


def predict(output: Tensor, batch: Batch, task: AnomalyTask) -> dict[str, Tensor]:
    """Return the probabilities (B, 2) of the other sample, and of the data."""
    return {PREDICTION: output.float().softmax(-1)}
