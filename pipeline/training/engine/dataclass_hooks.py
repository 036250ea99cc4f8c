"""DeepSpeed's hooks of ZeRO 3, which find no tensor in a dataclass, are shown those that are there.

Before and behind each module ZeRO 3 marks the tensors that go in and come out, to know in the
backward pass when to gather the module's parameters and when to let them go. It looks into tuples,
lists and dictionaries. With a dataclass the parameters of a module were not there when their
gradients were, or let go when nothing had been gathered: the training ended with an error.

All processes must mark equal numbers of tensors. So a tuple of tensors in a dataclass, such as the
runs of `pipeline.nn.attention.Bias`, whose number follows from the data, is passed over.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

Mark = Callable[[torch.Tensor], torch.Tensor]
Marking = Callable[..., Any]


def show_dataclasses() -> None:
    """Let DeepSpeed's hooks find tensors in dataclasses too."""
    from deepspeed.runtime.zero import parameter_offload

    if not isinstance(parameter_offload.apply_to_tensors_only, Marks):
        parameter_offload.apply_to_tensors_only = Marks(parameter_offload.apply_to_tensors_only)


@dataclasses.dataclass(frozen=True)
class Marks:
    """DeepSpeed's own function, beside which dataclasses are known."""

    known: Marking

    def __call__(self, mark: Mark, value: Any, warning_msg_fn: Any = None) -> Any:
        """Return `value` with all tensors marked; of a dataclass those that have a gradient."""
        if not _is_dataclass(value):
            return self.known(mark, value, warning_msg_fn)
        parts = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        changed = {name: self._part(mark, each) for name, each in parts.items() if _learns(each)}
        return dataclasses.replace(value, **changed) if changed else value

    def _part(self, mark: Mark, value: Any) -> Any:
        """Return a field that `_learns`, marked."""
        if isinstance(value, tuple):
            return tuple(self(mark, each) for each in value)
        if isinstance(value, dict):
            return {name: self._part(mark, each) for name, each in value.items()}
        return self(mark, value)


def _learns(value: Any) -> bool:
    """Return whether a field has a tensor with a gradient that is to be marked."""
    if isinstance(value, torch.Tensor):
        return value.requires_grad
    if isinstance(value, tuple):
        return all(map(_is_dataclass, value)) and any(map(_learns, value))
    if isinstance(value, dict):
        return any(map(_learns, value.values()))
    if _is_dataclass(value):
        return any(_learns(getattr(value, each.name)) for each in dataclasses.fields(value))
    return False


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
