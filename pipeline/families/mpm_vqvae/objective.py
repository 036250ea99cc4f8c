"""What MPM's VQ-VAE minimises (arXiv:2401.13537). Axes: P constituents, packed."""

from torch import Tensor

from pipeline.families.mpm_vqvae.module import Reconstructed
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses, event_mean, points, pooled


def reconstruction(output: Reconstructed, batch: Batch) -> Losses:
    """Return the absolute error of the normalised inputs, summed over them.

    A mean over the constituents of a jet, and then over jets.
    """
    away = (output.made.float() - output.true).abs().sum(1)
    return {"reconstruction": _mean(away, batch)}


@pooled(points)
def commitment(output: Reconstructed, batch: Batch) -> Losses:
    """Return how far constituents are from their codes, a mean over all of the batch."""
    return {"commitment": output.commitment.mean()}


def commitment_per_jet(output: Reconstructed, batch: Batch) -> Losses:
    """Return the same as a mean over the constituents of a jet, and then over jets."""
    return {"commitment_per_jet": _mean(output.commitment, batch)}


def _mean(values: Tensor, batch: Batch) -> Tensor:
    return event_mean(values, values.new_ones(len(values)), batch)
