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
    true = batch.per_event[LABEL]
    number = logits.shape[1]
    if beyond(true, number):
        message = (
            f"labels from {int(true.min())} to {int(true.max())}; the model predicts {number} "
            "classes, 0 and up. Give it as many `classes` as the store has."
        )
        raise BadInput(message)
    return {"class": functional.cross_entropy(logits.float(), true)}


def beyond(true: Tensor, number: int) -> bool:
    """Return whether any of the true labels (B) is none of so many classes."""
    return bool((true < 0).any()) or bool((true >= number).any())
