"""What tokenizers and the model of their tokens minimise (arXiv:2403.05618, §3).

Axes: P constituents, packed · T words of all sequences, packed · V vocabulary.
"""

import torch
from torch.nn import functional

from pipeline.families.omnijet.module import NextWords
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses


def next_token(output: NextWords, batch: Batch) -> Losses:
    """Return the negative log-likelihood of a jet's words and its stop, in nats: a mean over jets.

    A sum over the words of a jet and no mean of them: that would count jets of few constituents
    more than others, and their share in what is generated would grow.

    Where padding counts: the mean over all words of the padded jets, those of padding too, whose
    next word is taken to be 0.
    """
    nats = functional.cross_entropy(output.logits.float(), output.target, reduction="none")
    jets = batch.lengths.events
    if output.padding is not None:
        none = torch.zeros(jets, dtype=torch.int64, device=nats.device)
        each = functional.cross_entropy(output.padding.float(), none, reduction="none")
        missing = output.padded_to - (batch.sizes + 1)
        return {"next_token": (nats.sum() + (missing * each).sum()) / (jets * output.padded_to)}
    total = nats.new_zeros(jets).index_add(0, output.event, nats)
    return {"next_token": total.mean()}
