"""The objective of models that are pretrained on classes. Axes: B events · C classes."""

from torch import Tensor
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses

LABEL = "label"


def classes(logits: Tensor, batch: Batch) -> Losses:
    """Return the cross-entropy of the true class by logits (B, C), nats, a mean over events.

    Raises:
        BadInput: A label is none of the classes.
    """
    true, number = batch.per_event[LABEL], logits.shape[1]
    if beyond(batch, number):
        least, largest = batch.range_of(LABEL)
        message = (
            f"labels from {least} to {largest}; the model predicts {number} "
            "classes, 0 and up. Give it as many `classes` as the store has."
        )
        raise BadInput(message)
    return {"class": functional.cross_entropy(logits.float(), true)}


def beyond(batch: Batch, number: int) -> bool:
    """Return whether the label of any event is none of so many classes."""
    least, largest = batch.range_of(LABEL)
    return least < 0 or largest >= number
