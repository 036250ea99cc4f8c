"""A model of the user's own, from its file."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.families import Own


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


def found(file: Path, name: str) -> Any:
    """Return the function `name` of the Python file `file`.

    Raises:
        BadInput: The file is not there, cannot be loaded, or has no such function.
    """
    function = getattr(_loaded(file), name, None)
    if not callable(function):
        message = f"{file}: no function {name!r} there. See docs/add-a-model.md."
        raise BadInput(message)
    return function


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        message = f"{file}: is no Python file; its name must end in .py."
        raise BadInput(message)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        message = f"{file}: cannot be loaded ({type(error).__name__}: {error})."
        raise BadInput(message) from error
    return module
