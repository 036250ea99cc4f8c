"""A checkpoint of DeepSpeed is loaded at another number of processes, or another ZeRO stage.

DeepSpeed's own way, the universal checkpoint, knows the states of Adam alone, and with its flag on,
later checkpoints lack states (https://github.com/deepspeedai/DeepSpeed/issues/7546). Here every
process takes what it will keep, span by span, from the files as they are. Nothing is written, no
value is computed anew, and the next checkpoint is an ordinary one.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.outcome import RunError
from pipeline.training.engine.collectives import broadcast_json
from pipeline.training.engine.layouts import Layout, Shapes, Span, common
from pipeline.training.engine.state_files import read

Slots = list[Tensor]
States = dict[int, dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """The checkpoint in the folder `path`, written by `ranks` processes under stage `zero`."""

    path: Path
    zero: int
    ranks: int

    def model(self) -> dict[str, Any]:
        """Return what is stored once: buffers, counters, and of stages 0 to 2 all weights."""
        first = "zero_pp_rank_0_mp_rank_00" if self.zero == 3 else "mp_rank_00"
        states: dict[str, Any] = read(self.path / f"{first}_model_states.pt", "cpu", mmap=True)
        return states

    def shapes(self, order: Shapes) -> Shapes:
        """Return the trained parameters stored, by group; without ZeRO they lie in our `order`."""
        model = self.model()
        if self.zero:
            shapes: Shapes = model["param_shapes"]
            return shapes
        module = model["module"]
        return [{name: module[name].shape for group in order for name in group if name in module}]

    def parts(self, shapes: Shapes) -> Iterator[tuple[list[Span], Slots, States]]:
        """Yield what each process had kept of its parameters: where, weights, states."""
        layout, sizes = Layout(self.zero, self.ranks, shapes), list[int]()
        for rank in range(self.ranks if self.zero else 1):
            slots, states = self._kept(rank, shapes)
            sizes = sizes or [slot.numel() for slot in slots]
            yield layout.spans(rank, sizes), slots, states

    def whole(self, shapes: Shapes) -> dict[str, Tensor]:
        """Return all trained weights, by name, in single precision."""
        weights = {n: torch.zeros(tuple(s)) for group in shapes for n, s in group.items()}
        for spans, slots, _ in self.parts(shapes):
            for p in spans:
                origin = slots[p.slot].view(-1)[p.start : p.start + p.count]
                weights[p.name].view(-1)[p.begin : p.begin + p.count] = origin
        return weights

    def _kept(self, rank: int, shapes: Shapes) -> tuple[Slots, States]:
        if self.zero == 0:
            return _kept_whole(self.model(), [name for group in shapes for name in group])
        (path,) = self.path.glob(f"*zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        kept = read(path, "cpu", mmap=True)["optimizer_state_dict"]
        if self.zero == 3:
            return kept["fp32_flat_groups"], kept["optimizer_state_dict"]["state"]
        states = kept["base_optimizer_state"]["state"]
        return kept["single_partition_of_fp32_groups"], states


def _kept_whole(model: dict[str, Any], names: list[str]) -> tuple[Slots, States]:
    """Return all weights and states, as they are without ZeRO, in single precision or with it."""
    kept = model["optimizer"]
    if "fp32_groups" in kept:
        slots = [weight for group in kept["fp32_groups"] for weight in group]
        return slots, kept["optimizer_state_dict"]["state"]
    return [model["module"][name] for name in names], kept["state"]


def begin(engine: Any) -> None:
    """Let the optimiser of DeepSpeed's `engine`, fresh, have taken no step yet.

    Without ZeRO in bf16 it has: one with zero gradients, to make its states, which decays the
    weights and counts as a step (deepspeed/runtime/fp16/unfused_optimizer.py).
    """
    if hasattr(engine.optimizer, "refresh_fp32_params") and not engine.zero_optimization_stage():
        engine.basic_optimizer.state.clear()
        engine.optimizer.refresh_fp32_params()


def load(engine: Any, saved: Saved) -> None:
    """Give DeepSpeed's `engine`, fresh, all that the checkpoint `saved` knows; all call.

    Raises:
        RunError: The weights it has then are not those of the checkpoint.
    """
    if hasattr(engine.optimizer, "checkpoint_event_prologue"):
        engine.optimizer.checkpoint_event_prologue()
    model = saved.model()
    for name, buffer in engine.module.named_buffers():
        if name in model["module"]:
            buffer.copy_(model["module"][name])
    for name in ("global_steps", "global_samples", "skipped_steps"):
        setattr(engine, name, model[name])
    _fill(engine, saved)
    _hand_on(engine)
    if hasattr(engine.optimizer, "checkpoint_event_epilogue"):
        engine.optimizer.checkpoint_event_epilogue()
    _verify(engine, saved)


def gathered(engine: Any) -> dict[str, Tensor]:
    """Return the weights and buffers that the model computes with, whole, by name; all call."""
    import deepspeed

    module: nn.Module = engine.module
    sharded = engine.zero_optimization_stage() == 3
    gathering = deepspeed.zero.GatheredParameters(list(module.parameters()))
    with gathering if sharded else nullcontext():
        return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def _verify(engine: Any, saved: Saved) -> None:
    """Hold the weights that were loaded against those of the files, put together by themselves.

    Raises:
        RunError: They differ.
    """
    loaded, same = gathered(engine), True
    if torch.distributed.get_rank() == 0:
        expected = saved.whole(saved.shapes(_shapes(engine))).items()
        same = all(torch.equal(loaded[name], value.to(loaded[name])) for name, value in expected)
    if not broadcast_json(same, engine.device):
        message = f"{saved.path}: the weights that were loaded are not those in the files."
        raise RunError(message)


@torch.no_grad()
def _fill(engine: Any, saved: Saved) -> None:
    """Copy what this process is to keep into its slots and the optimiser's states."""
    slots, shapes = _slots(engine), _shapes(engine)
    layout = Layout(engine.zero_optimization_stage(), torch.distributed.get_world_size(), shapes)
    kept = layout.spans(torch.distributed.get_rank(), [slot.numel() for slot in slots])
    mine = {name: [span for span in kept if span.name == name] for name in {p.name for p in kept}}
    filled = 0
    for spans, weights, states in saved.parts(saved.shapes(shapes)):
        for there in spans:
            for here in mine.get(there.name, []):
                if (both := common(here, there)) is not None:
                    slot, state = slots[here.slot], states.get(there.slot, {})
                    _copy(weights[there.slot], slot, both)
                    _copy_states(state, engine.basic_optimizer.state[slot], slot, both)
                    filled += both[0].stop - both[0].start
    if filled != sum(span.count for span in kept):
        message = f"{saved.path}: holds other parameters than this model has."
        raise RunError(message)


def _copy(origin: Tensor, to: Tensor, both: tuple[slice, slice]) -> None:
    """Copy elements both[1] of `origin` to elements both[0] of `to`."""
    to.view(-1)[both[0]] = origin.view(-1)[both[1]].to(to)


def _copy_states(
    origin: dict[str, Any], to: dict[str, Any], slot: Tensor, both: tuple[slice, slice]
) -> None:
    """Copy a span of every state that an optimiser has of `slot`; a count of steps as it is."""
    for key, value in origin.items():
        if isinstance(value, Tensor) and value.ndim:
            _copy(value, to.setdefault(key, torch.zeros_like(slot)), both)
        else:
            to[key] = value.clone() if isinstance(value, Tensor) else value


def _slots(engine: Any) -> Slots:
    """Return the tensors that the optimiser steps in this process."""
    optimizer, stage = engine.optimizer, engine.zero_optimization_stage()
    if stage == 3:
        return list(optimizer.fp32_partitioned_groups_flat)
    if stage:
        return list(optimizer.single_partition_of_fp32_groups)
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _shapes(engine: Any) -> Shapes:
    """Return the trained parameters in the optimiser's order, by group."""
    optimizer = engine.optimizer
    if engine.zero_optimization_stage():
        shapes: Shapes = engine._get_zero_param_shapes()  # noqa: SLF001 - what it saves itself
        return shapes
    held = getattr(optimizer, "fp16_groups", None)
    if held is None:
        held = [group["params"] for group in optimizer.param_groups]
    return [{engine.param_names[p]: p.shape for p in group} for group in held]


@torch.no_grad()
def _hand_on(engine: Any) -> None:
    """Take the slots over into the weights that the model computes with."""
    optimizer, stage = engine.optimizer, engine.zero_optimization_stage()
    if stage == 3:
        optimizer.load_state_dict([optimizer.state_dict()] * torch.distributed.get_world_size())
    elif stage:
        optimizer.update_lp_params()
    elif hasattr(optimizer, "fp16_groups"):
        for low, full in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for to, origin in zip(low, full, strict=True):
                to.copy_(origin)
