"""A model of the user's own, from its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.families.own.spec import Own


def build(model: Own, store: Store | None) -> nn.Module:  # noqa: ARG001 - every builder has it
    """Return what `build(settings)` in the file of `model` returns.

    Raises:
        BadInput: The file has no such function, or what it returns is no module.
    """
    made = found(model.code, "build")(model.settings)
    if not isinstance(made, nn.Module):
        message = f"{model.code}: build returned {type(made).__name__}; expected a torch.nn.Module."
        raise BadInput(message)
    return made


def found(file: Path, name: str) -> Callable[..., Any]:
    """Return the function `name` of the Python file `file`.

    Raises:
        BadInput: The file is not there, cannot be loaded, or has no such function.
    """
    function = custom_code.found(file, name)
    if not callable(function):
        message = f"{file}: {name} is no function. See docs/add-a-model.md."
        raise BadInput(message)
    return function
