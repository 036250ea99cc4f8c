"""A model of the user's, from its file. Axes: P points, packed · W width."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.families.custom.spec import BACKBONE, Custom
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf


def build(model: Custom, store: Store | None) -> nn.Module:
    """Return the module that the function of the user's file returns.

    Raises:
        BadInput: The file has no such function, what it returns is no module, or heads could not be
            put on it once it is trained.
    """
    module = _module(model, model.function)
    if model.takes_heads:
        _check_holds_backbone(model, module)
    return module


def backbone(model: Custom, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone of the user's file, and its states as a head takes them.

    The module may return `Hidden`, one tensor (P, W), or a sequence of them.

    Raises:
        BadInput: The file has no such function, or its states are not as declared.
    """
    module = _module(model, model.backbone)

    def hidden_of(batch: Batch) -> Hidden:
        """Return the states of a batch, checked."""
        return _checked(model, _hidden(module(batch)), batch)

    return module, hidden_of


def function_in(file: Path, name: str) -> Any:
    """Return the function `name` of the Python file `file`.

    Raises:
        BadInput: The file is not there, cannot be loaded, or has no such function.
    """
    function = custom_code.load(file, name)
    if not callable(function):
        message = f"{file}: {name} is no function. See docs/add-a-model.md."
        raise BadInput(message)
    return function


def _module(model: Custom, name: str) -> nn.Module:
    """Return the module that the function `name` of the file returns."""
    made = function_in(model.code, name)(model.settings)
    if not isinstance(made, nn.Module):
        message = (
            f"{model.code}: {name} returned {type(made).__name__}; expected a torch.nn.Module."
        )
        raise BadInput(message)
    return made


def _check_holds_backbone(model: Custom, module: nn.Module) -> None:
    """Check before a training that its weights will have a place in the backbone.

    Raises:
        BadInput: The module has no attribute `backbone`, or that is another than heads are put on.
    """
    with torch.random.fork_rng(devices=[]):
        needed = _shapes(_module(model, model.backbone))
    held = getattr(module, BACKBONE, None)
    if isinstance(held, nn.Module) and _shapes(held) == needed:
        return
    found = "has none"
    if isinstance(held, nn.Module):
        unlike = sorted(dict(_shapes(held).items() ^ needed.items()))
        found = f"has one that differs in {', '.join(unlike)}"
    message = (
        f"{model.code}: the module of {model.function}(settings) must hold that of "
        f"{model.backbone}(settings) as its attribute `{BACKBONE}`, where heads find the "
        f"pretrained weights; it {found}."
    )
    raise BadInput(message)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by its name."""
    return {name: tuple(each.shape) for name, each in module.state_dict().items()}


def _hidden(states: Any) -> Hidden:
    """Return what a backbone returned as `Hidden`."""
    if isinstance(states, Hidden):
        return states
    return Hidden([states] if isinstance(states, Tensor) else list(states))


def _checked(model: Custom, hidden: Hidden, batch: Batch) -> Hidden:
    """Return `hidden`, if its shapes are those that the declaration promises to heads."""
    number, width = model.hidden
    expected = [(len(batch.points), width)] * number
    shapes = [tuple(each.shape) for each in hidden.points]
    if shapes != expected:
        message = (
            f"{model.code}: {model.backbone} gave states of shapes {shapes}; expected {expected}, "
            "by hidden_states and hidden_width of the model."
        )
        raise BadInput(message)
    of_events = None if hidden.events is None else tuple(hidden.events.shape)
    declared = (batch.lengths.events, model.event_width) if model.has_event_token else None
    if of_events != declared:
        message = (
            f"{model.code}: {model.backbone} gave states of events of shape {of_events}; expected "
            f"{declared}, by event_state_width of the model."
        )
        raise BadInput(message)
    return hidden
