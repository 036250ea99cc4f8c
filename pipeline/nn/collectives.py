"""What a module in training needs of the global batch, beyond gradients.

A module that learns from its data in other ways, as a codebook does by k-means, must learn the same
in every process, and the same from a batch in one piece or in micro-batches. It calls its own
`collectives`, which the engine replaces with those of the job; and it learns at two moments of a
step that the engine tells it: before any micro-batch is taken forward, and after the last one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.batch import Batch


def _unchanged(values: Tensor) -> Tensor:
    return values


def _first() -> int:
    return 0


def _nothing(module: nn.Module) -> AbstractContextManager[None]:
    del module
    return nullcontext()


@dataclass(frozen=True)
class Collectives:
    """Operations over all processes, all of which must call them; by default those of a lone one.

    `all_reduce_sum` returns the sum of every process's values, `broadcast` the first one's values,
    `all_gather` those of all, which have equal shapes, one after the other. In the context `whole`
    a module has its own parameters, though each process may keep a share of them (ZeRO 3).
    `rank` returns the place of this process among all; `is_alone` says that there is no other.
    """

    all_reduce_sum: Callable[[Tensor], Tensor] = _unchanged
    broadcast: Callable[[Tensor], Tensor] = _unchanged
    all_gather: Callable[[Tensor], Tensor] = _unchanged
    whole: Callable[[nn.Module], AbstractContextManager[None]] = _nothing
    rank: Callable[[], int] = _first
    is_alone: bool = True


def summed(values: Tensor, collectives: Collectives) -> Tensor:
    """Return the sum of `values` over all processes, which sums its gradients too; all call."""
    found: Tensor = _Summed.apply(values, collectives.all_reduce_sum)
    return found


def gathered(values: Tensor, collectives: Collectives) -> tuple[Tensor, int]:
    """Return the rows of all processes (G, C), and which is the first of this process's (N, C).

    Without their gradients. All must call, with rows of one length.
    """
    counts = collectives.all_gather(torch.tensor([len(values)], device=values.device)).tolist()
    first = sum(counts[: collectives.rank()])
    after = sum(counts) - first - len(values)
    placed = functional.pad(values.detach(), (0, 0, first, after))
    return collectives.all_reduce_sum(placed), first


class _Summed(torch.autograd.Function):
    """The sum over processes: a gradient of it is the sum of every process's."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, all_reduce_sum: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.all_reduce_sum = all_reduce_sum
        return all_reduce_sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.all_reduce_sum(gradient), None


class Collective(nn.Module):
    """A module whose training needs all processes to agree on more than gradients.

    Where no engine steps it, each forward pass in training is a step of its own (`is_stepped`).
    `counts` is false while an event is taken forward again only to fill up a process, and
    `computes_again` true while activations are computed again in the backward pass.
    """

    collectives = Collectives()
    is_stepped = False
    counts = True
    computes_again = False

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, int] = {}  # of buffers that were read from the device

    def is_set(self, flag: str) -> bool:
        """Return whether the buffer `flag`, which never is unset, is set.

        The device is read until it is, each time after all that was launched before.
        """
        if not self._known.get(flag):
            self._known[flag] = int(bool(getattr(self, flag)))
        return bool(self._known[flag])

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load what is stored, and ask the device again."""
        self._known.clear()
        super()._load_from_state_dict(*args, **kwargs)

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Learn from this process's share of a batch, before any of it is taken forward.

        Only the outermost modules are called; they pass on what those inside need.
        """

    def conclude(self) -> None:
        """Learn from what was taken forward in a step, after the last micro-batch of it."""


def connect(model: nn.Module, collectives: Collectives) -> None:
    """Give every `Collective` in `model` the `collectives` of the job."""
    for module in _inside(model):
        module.collectives = collectives
        module.is_stepped = True


def prepare(model: nn.Module, batches: Sequence[Batch]) -> None:
    """Let the outermost `Collective`s in `model` learn from `batches`; all processes call this."""
    for module in _outermost(model):
        module.prepare(batches)


def conclude(model: nn.Module) -> None:
    """Let every `Collective` in `model` learn from the step that ends; all processes call this."""
    for module in _inside(model):
        module.conclude()


@contextmanager
def counting(model: nn.Module, counts: bool) -> Iterator[None]:
    """While this lasts, every `Collective` in `model` knows whether its events count."""
    for module in _inside(model):
        module.counts = counts
    try:
        yield
    finally:
        for module in _inside(model):
            module.counts = True


@contextmanager
def computing_again(model: nn.Module) -> Iterator[None]:
    """While this lasts, a backward pass, what a `Collective` in `model` sees it has seen before."""
    for module in _inside(model):
        module.computes_again = True
    try:
        yield
    finally:
        for module in _inside(model):
            module.computes_again = False


def _inside(model: nn.Module) -> list[Collective]:
    return [module for module in model.modules() if isinstance(module, Collective)]


def _outermost(model: nn.Module) -> Iterator[Collective]:
    if isinstance(model, Collective):
        yield model
        return
    for child in model.children():
        yield from _outermost(child)
