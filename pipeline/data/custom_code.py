"""Custom code: readers, models and interactions in a user's own Python file."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.data.errors import BadInput


def load(file: Path, name: str) -> Any:
    """Return the object `name` of the Python file `file`.

    Raises:
        BadInput: The file is missing, cannot be loaded, or has no such name.
    """
    module = _loaded(file)
    if not hasattr(module, name):
        message = f"{file}: it defines no {name!r}."
        raise BadInput(message)
    return getattr(module, name)


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        message = f"{file}: not a Python file; its name must end in .py."
        raise BadInput(message)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        message = f"{file}: cannot be loaded ({type(error).__name__}: {error})."
        raise BadInput(message) from error
    return module
