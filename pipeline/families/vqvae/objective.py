"""What a VQ-VAE tokenizer minimises (arXiv:2403.05618, §3). Axes: P constituents, packed."""

from torch import Tensor

from pipeline.families.vqvae.module import Reconstructed
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses, event_mean


def reconstruction(output: Reconstructed, batch: Batch) -> Losses:
    """Return the mean squared error of the three features, a mean over jets."""
    squared = (output.features.float() - batch.points).square().mean(-1)
    return {"reconstruction": _mean(squared, batch)}


def commitment(output: Reconstructed, batch: Batch) -> Losses:
    """Return how far constituents are from their codes, a mean over jets."""
    return {"commitment": _mean(output.commitment, batch)}


def _mean(values: Tensor, batch: Batch) -> Tensor:
    """Return the mean over jets of each jet's mean of `values` (P)."""
    return event_mean(values, values.new_ones(len(values)), batch)
