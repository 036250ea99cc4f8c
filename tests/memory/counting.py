"""Bytes of a forward and backward pass on this CPU: those that autograd keeps, and their peak."""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from memory import kernels
from pipeline.families import Family
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collectives, connect, counting, prepare
from pipeline.training.engine.activation_checkpointing import checkpoint_activations

Loss = Callable[[Batch], Tensor]


def system(model: Family, *, again: bool = False, half: bool = False) -> tuple[nn.Module, Loss]:
    """Return the module of `model` in training, and what makes the loss of a batch.

    With `again` blocks are computed again in the backward pass; `half` is bfloat16 throughout.
    """
    torch.manual_seed(1)
    made = systems.build(model, None)
    connect(made.module.train(), Collectives())
    if again:
        checkpoint_activations(made.module)
    if half:
        made.module.bfloat16()

    def loss(batch: Batch) -> Tensor:
        with counting(made.module, True):
            return made.objective(made.module(batch), batch)[0]

    return made.module, loss


def kept(module: nn.Module, batch: Batch, forward: Callable[[], Tensor]) -> int:
    """Return the bytes of all tensors that autograd keeps of `forward`, each memory once.

    Parameters and buffers do not count, nor what the batch holds itself.
    """
    before = [*module.parameters(), *module.buffers(), batch.points, batch.offsets, batch.event_id]
    before += [*batch.per_point.values(), *batch.per_event.values()]
    there = {each.untyped_storage().data_ptr() for each in before}
    found: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in there:
            found[memory.data_ptr()] = memory  # held, so that no other tensor gets its address
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    del loss
    return sum(each.nbytes() for each in found.values())


def changes(run: Callable[[], object]) -> list[int]:
    """Return the bytes that tensors hold after each change during `run`, above those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as traced:
        run()
    events = traced.profiler.kineto_results.events()
    moments = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return [*itertools.accumulate((change for _, change in moments), initial=0)]


@dataclass(frozen=True)
class Counts:
    """Bytes that autograd keeps, at the peak of both passes, and both with blocks computed again.

    Gradients are there before, so that they count in none of them.
    """

    kept: int
    peak: int
    kept_again: int
    peak_again: int


def counts(model: Family, batch: Batch, *, half: bool = False, on_device: bool = False) -> Counts:
    """Return the bytes of `model` on `batch`; with a device's kernels if `on_device`."""
    with kernels.standing_in() if on_device else nullcontext():
        return counts_of(lambda again: system(model, again=again, half=half), batch, half=half)


def counts_of(
    made: Callable[[bool], tuple[nn.Module, Loss]], batch: Batch, *, half: bool = False
) -> Counts:
    """Return the bytes of what is `made`, with blocks computed again or not."""
    with _as_on_devices() if half else nullcontext():
        module, loss = made(False)
        prepare(module, [batch])
        found = kept(module, batch, lambda: loss(batch))
        highest = peak(module, loss, batch)
        module, loss = made(True)
        return Counts(found, highest, *_passes(module, loss, batch))


def peak(module: nn.Module, loss: Loss, batch: Batch) -> int:
    """Return the most bytes of a forward and backward pass, above weights and gradients."""
    _begin(module, loss, batch)
    return max(changes(lambda: loss(batch).backward()))


def _passes(module: nn.Module, loss: Loss, batch: Batch) -> tuple[int, int]:
    """Return the bytes after a forward pass, and the most until the end of the backward pass."""
    _begin(module, loss, batch)
    after: list[Tensor] = []
    forward = changes(lambda: after.append(loss(batch)))
    backward = changes(lambda: after.pop().backward())
    return forward[-1], max(*forward, *(forward[-1] + each for each in backward))


def _begin(module: nn.Module, loss: Loss, batch: Batch) -> None:
    """Run a pass before the one that is counted, so that there are gradients."""
    prepare(module, [batch])
    loss(batch).backward()
    prepare(module, [batch])


def _as_on_devices() -> mock._patch:
    """Attend in half precision as devices do; our code has CPUs attend in single, for speed."""
    from pipeline.nn import attention

    return mock.patch.object(attention, "by_runs", _by_runs)


def _by_runs(q, k, v, lengths, *, causal=False, hidden_P=None, bias=(), dropout=0.0):  # noqa: N803
    """`by_runs` for events of one length, in the precision that they have."""
    (run,) = lengths.runs
    q, k, v = (x.unflatten(0, run).transpose(1, 2) for x in (q, k, v))
    seen = None
    if hidden_P is not None:
        from pipeline.nn.attention import _seen

        seen = _seen(hidden_P.view(run), causal=causal)
    if bias:
        seen = bias[0].to(q.dtype)
    y = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=seen, dropout_p=dropout, is_causal=causal and seen is None
    )
    return y.transpose(1, 2).flatten(0, 1)
