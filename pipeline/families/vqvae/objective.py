"""What a VQ-VAE tokenizer minimises (arXiv:2403.05618, §3). Axes: P constituents, packed."""

from torch import Tensor

from pipeline.families.vqvae.module import Reconstructed
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses, event_mean


def reconstruction(output: Reconstructed, batch: Batch) -> Losses:
    """Return the mean squared error of the three features, as `mean` takes it."""
    squared = (output.features.float() - batch.points).square().mean(-1)
    return {"reconstruction": mean(squared, output, batch, 0)}


def commitment(output: Reconstructed, batch: Batch) -> Losses:
    """Return how far constituents are from their codes, as `mean` takes it."""
    return {"commitment": mean(output.commitment, output, batch, 1)}


def mean(values: Tensor, output: Reconstructed, batch: Batch, which: int) -> Tensor:
    """Return the mean over jets of each jet's mean of `values` (P).

    Where padding counts: the mean over all places, those of padding with the number `which` of it.
    """
    if output.padding is None:
        return event_mean(values, values.new_ones(len(values)), batch)
    places = batch.lengths.events * output.padded_to
    return (values.sum() + (places - len(values)) * output.padding[which]) / places
