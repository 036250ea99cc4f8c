"""PolarBERT's objectives: which sensor a masked pulse is of, and the charge of the event.

Axes: P pulses, packed · B events · M masked pulses · C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.families.polarbert.module import Output
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses


def sensors(output: Output, batch: Batch) -> Losses:
    """Return the cross-entropy of the masked pulses: the mean of each event's, over all events.

    An event without a masked pulse counts as 0, so that the mean is over the same events at any
    world size: where a share s of the events has none, guessing costs (1 - s) · ln S.
    """
    event = batch.event[output.masked]
    entropy = entropies(output, batch)
    zeros = entropy.new_zeros(batch.lengths.events)
    total = zeros.index_add(0, event, entropy)
    count = zeros.index_add(0, event, torch.ones_like(entropy))
    return {"sensors": (total / count.clamp(min=1)).mean()}


def entropies(output: Output, batch: Batch) -> Tensor:
    """Return the cross-entropy (M) of each masked pulse, in single precision."""
    return functional.cross_entropy(
        output.sensors.float(), targets(output, batch), reduction="none"
    )


def targets(output: Output, batch: Batch) -> Tensor:
    """Return the class (M) of each masked pulse: its sensor, counted from 1."""
    return batch.per_point["sensor_id"][output.masked] + 1


def charge(output: Output, batch: Batch) -> Losses:
    """Return the mean squared error of log10 of the charge (p.e.) of all pulses of the event.

    That is of the pulses before any are left out, so the pulses at hand do not always add up to it.
    """
    true = batch.per_event["total_charge"].log10()
    return {"charge": functional.mse_loss(output.charge.float(), true)}
