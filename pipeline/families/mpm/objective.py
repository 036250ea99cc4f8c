"""What is minimised of hidden constituents, one of three tasks (arXiv:2401.13537, §3).

Each is a sum over the hidden constituents of a jet, over their number and 1e-5, and then a mean
over all jets, also those of which nothing is hidden. Axes: M hidden constituents.
"""

from torch import Tensor
from torch.nn import functional

from pipeline.families.mpm.module import Masked
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses

SMALLEST = 1e-5  # added to the number of hidden constituents


def tokens(output: Masked, batch: Batch) -> Losses:
    """Return the cross-entropy of the code of a VQ-VAE, nats."""
    return {"tokens": per_jet(entropy(output), output, batch).mean()}


def clusters(output: Masked, batch: Batch) -> Losses:
    """Return the cross-entropy of the nearest centre, nats."""
    return {"clusters": per_jet(entropy(output), output, batch).mean()}


def regression(output: Masked, batch: Batch) -> Losses:
    """Return the squared error of the normalised inputs, summed over them."""
    return {"regression": per_jet(squares(output), output, batch).mean()}


def per_jet(values: Tensor, output: Masked, batch: Batch) -> Tensor:
    """Return the mean (B) of `values` (M) over what is hidden of each jet."""
    event, zeros = batch.event[output.rows], values.new_zeros(batch.lengths.events)
    count = zeros.index_add(0, event, values.new_ones(len(values)))
    return zeros.index_add(0, event, values) / (count + SMALLEST)


def entropy(output: Masked) -> Tensor:
    """Return the cross-entropy (M)."""
    return functional.cross_entropy(output.predicted.float(), output.true, reduction="none")


def squares(output: Masked) -> Tensor:
    """Return the squared error (M), summed over inputs."""
    return (output.predicted.float() - output.true).square().sum(1)
