"""Collectives that a module in training needs, without the library that carries them out.

A module that learns from its data in other ways than by gradients, as a codebook does by k-means,
must learn the same in every process. It calls its own `collectives`; the engine, which alone knows
how processes communicate, replaces them with those of the job.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


def _unchanged(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True)
class Collectives:
    """Operations over all processes, all of which must call them; by default those of a lone one.

    `all_reduce_sum` returns the sum of every process's values, `broadcast` the first one's values.
    """

    all_reduce_sum: Callable[[Tensor], Tensor] = _unchanged
    broadcast: Callable[[Tensor], Tensor] = _unchanged


class Collective(nn.Module):
    """A module whose training needs all processes to agree on more than gradients."""

    collectives = Collectives()


def connect(model: nn.Module, collectives: Collectives) -> None:
    """Give every `Collective` in `model` the `collectives` of the job."""
    for module in model.modules():
        if isinstance(module, Collective):
            module.collectives = collectives
