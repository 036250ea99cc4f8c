"""Find and load declarations: from a user's path, a checkout or a wheel."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

PACKAGE = Path(__file__).parent


class Declaration(BaseModel):
    """What a TOML file may say: strict, immutable, no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DeclarationError(ValueError):
    """A declaration cannot be found, read or believed; the message says what to type."""


Declared = TypeVar("Declared", bound=Declaration)


def folder(kind: str) -> Path:
    """Return the shelf `kind` ("sites", "jobs/campaigns"): inside a wheel, beside a checkout."""
    packaged = PACKAGE / kind
    return packaged if packaged.is_dir() else PACKAGE.parent / kind


def names(kind: str) -> list[str]:
    """List what is declared on the shelf `kind`, sorted."""
    return sorted(path.stem for path in folder(kind).glob("*.toml"))


def find(kind: str, name: str) -> Path:
    """Return the file that declares `name`: a path given by the user first, then the shelf.

    Raises:
        DeclarationError: Neither a file nor a declared name; the message lists the names.
    """
    if name.endswith(".toml") and Path(name).is_file():
        return Path(name)
    path = folder(kind) / f"{name}.toml"
    if path.is_file():
        return path
    known = names(kind)
    close = difflib.get_close_matches(name, known, n=1)
    advice = f" Did you mean {close[0]!r}?" if close else ""
    singular = Path(kind).name.removesuffix("s")
    message = (
        f"No {singular} named {name!r}.{advice} Declared: {', '.join(known)}; or give a .toml."
    )
    raise DeclarationError(message)


def load(kind: str, name: str, model: type[Declared]) -> Declared:
    """Load the declaration `name` of the shelf `kind` and check it.

    Raises:
        DeclarationError: It is not there, is no TOML, or has a missing, unknown or impossible key.
    """
    return read(find(kind, name), model)


def read(path: Path, model: type[Declared]) -> Declared:
    """Read the declaration in the file `path` and check it.

    Raises:
        DeclarationError: As in `load`; every message names the file, the key and the way out.
    """
    try:
        return parse(model, tomllib.loads(path.read_text()))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})."
        raise DeclarationError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: not valid TOML: {error}."
        raise DeclarationError(message) from error
    except DeclarationError as error:
        message = f"{path}:\n  {error}"
        raise DeclarationError(message) from error


def parse(model: type[Declared], values: dict[str, Any]) -> Declared:
    """Return `values`, from wherever they come, as a checked declaration.

    Raises:
        DeclarationError: A key is missing, unknown or impossible; a line for each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "\n  ".join(_problem(model, each) for each in error.errors())
        raise DeclarationError(problems) from error


def _problem(model: type[BaseModel], error: Any) -> str:
    """Return one line for one thing that is wrong: the key's path, then what to do."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']}." if key else f"{error['msg']}."
    known = _keys_at(model, error["loc"][:-1])
    close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
    if close:
        return f"{key}: unknown key. Did you mean {close[0]!r}?"
    return f"{key}: unknown key. Known here: {', '.join(known)}."


def _keys_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys that `model` accepts at the place `loc`, through lists and tables."""
    current: Any = model
    for part in loc:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _innermost(fields[part].annotation)
    return sorted(getattr(current, "model_fields", {}))


def _innermost(annotation: Any) -> Any:
    """Return the model inside `dict[str, Model]`, `tuple[Model, ...]` or `Model | None`."""
    for argument in get_args(annotation):
        inner = _innermost(argument)
        if hasattr(inner, "model_fields"):
            return inner
    return annotation
