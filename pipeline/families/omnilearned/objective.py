"""OmniLearned's objectives: the velocity in noise, and the class of an event as it is and in noise.

Lipman et al., arXiv:2210.02747; Mikuni, Nachman, arXiv:2404.16091; Bhimji et al., arXiv:2510.24066.
Axes: P points, packed · B events · F columns that flow.
"""

from torch.nn import functional

from pipeline.families.omnilearned.module import Output
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import classes as by_class
from pipeline.nn.flow import labels
from pipeline.nn.flow_losses import flow
from pipeline.nn.losses import Losses

__all__ = ["classes", "flow", "perturbed"]


def classes(output: Output, batch: Batch) -> Losses:
    """Return the cross-entropy of the class of an event, nats, a mean over events.

    The published trainer weighs classes by how rare they are in the batch of one process; ours
    does not, for a loss would then be another at another number of processes.
    """
    assert output.logits is not None
    return by_class(output.logits, batch)


def perturbed(output: Output, batch: Batch) -> Losses:
    """Return the cross-entropy in noise, each event weighted with the square of α = 1 - t.

    What is left of the points in z = α x + t ε.
    """
    assert output.in_noise is not None
    assert output.flow is not None
    weight, logits = (1 - output.flow.time).square(), output.in_noise.float()
    entropy = functional.cross_entropy(logits, labels(batch, logits.shape[1]), reduction="none")
    return {"perturbed": (weight * entropy).mean()}
