"""Custom code: readers, models and interactions in a user's own Python file."""

import importlib.util
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pipeline import trust
from pipeline.data.errors import BadInput

_LOADED: set[str] = set()  # files of this process


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


def located(message: str, error: BaseException) -> str:
    """Return `message` with the last line of own code that `error` came through, if it did."""
    lines = [
        f"{Path(frame.filename).name}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in _LOADED
    ]
    return f"{message} ({lines[-1]})" if lines else message


class _Source(SourceFileLoader):
    """Loads a file's source, once it is known whose it is, and no bytecode that lies beside it."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the file."""
        path = self.get_filename(fullname)
        compiled: CodeType = self.source_to_code(trust.content(Path(path)), path)
        return compiled


def _loaded(file: Path) -> ModuleType:
    if file.suffix != ".py":
        message = f"{file}: not a Python file; its name must end in .py."
        raise BadInput(message)
    loader = _Source(file.stem, str(file))
    spec = importlib.util.spec_from_file_location(file.stem, file, loader=loader)
    assert spec is not None  # as it has a loader
    module = importlib.util.module_from_spec(spec)
    _LOADED.add(str(file))
    try:
        loader.exec_module(module)
    except trust.OtherOwnerError as error:
        raise BadInput(str(error)) from error
    except Exception as error:  # the user's own code may raise anything
        message = f"{file}: cannot be loaded ({type(error).__name__}: {error})."
        raise BadInput(message) from error
    return module
