"""What tokenizers and the model of their tokens minimise (arXiv:2403.05618, §3).

Axes: P constituents, packed · T words of all sequences, packed · V vocabulary.
"""

from torch import Tensor
from torch.nn import functional

from pipeline.training.batch import Batch
from pipeline.training.models.omnijet import NextWords
from pipeline.training.models.vqvae import Reconstructed
from pipeline.training.objectives import Losses, event_mean


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


def next_token(output: NextWords, batch: Batch) -> Losses:
    """Return the negative log-likelihood of a jet's words and its stop, in nats: a mean over jets.

    A sum over the words of a jet and no mean of them: that would count jets of few constituents
    more than others, and their share in what is generated would grow.
    """
    nats = functional.cross_entropy(output.logits.float(), output.target, reduction="none")
    jets = len(batch.sizes)
    total = nats.new_zeros(jets).index_add(0, output.event, nats)
    return {"next_token": total.mean()}
