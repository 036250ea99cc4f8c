"""Find and load declarations: from a user's path, a checkout or a wheel."""

import ast
import difflib
import importlib
import json
import pkgutil
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo

PACKAGE = Path(__file__).parent


class Declaration(BaseModel):
    """What a TOML file may say: strict, immutable, no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Incidental:
    """Marks a key that decides nothing of a task's product: how it is executed, or a second name.

    Such a key may change at any time; a change of another makes another product.
    """


INCIDENTAL = Incidental()
RESOLVED = "resolved"


def is_resolved(info: ValidationInfo) -> bool:
    """Return whether what is validated was checked before, so that its files may be gone."""
    return bool(info.context and info.context.get(RESOLVED))


class DeclarationError(ValueError):
    """A declaration cannot be found, read or believed; the message says what to type."""

    outcome = "usage"


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
    return parse_file(path, model, table(path))


def table(path: Path) -> dict[str, Any]:
    """Return the content of the file `path`, TOML or `.json`, unchecked.

    Raises:
        DeclarationError: It cannot be read, or is no such file.
    """
    if path.suffix == ".json":
        return _object(path)
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})."
        raise DeclarationError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: not valid TOML: {error}."
        raise DeclarationError(message) from error


def _object(path: Path) -> dict[str, Any]:
    """Return the object in the JSON file `path`.

    Raises:
        DeclarationError: It cannot be read, or is no such file.
    """
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})."
        raise DeclarationError(message) from error
    except ValueError as error:
        message = f"{path}: not valid JSON: {error}."
        raise DeclarationError(message) from error
    if not isinstance(found, dict):
        message = f"{path}: not a JSON object."
        raise DeclarationError(message)
    return found


def parse_file(
    path: Path, model: type[Declared], values: dict[str, Any], *, resolved: bool = False
) -> Declared:
    """Return the `values` that the file `path` holds as a checked declaration.

    One that is `resolved` was checked when it was written: files that it names may be gone.

    Raises:
        DeclarationError: As in `parse`, with the file's name.
    """
    try:
        return parse(model, values, resolved=resolved)
    except DeclarationError as error:
        message = f"{path}:\n  {error}"
        raise DeclarationError(message) from error


def parse(model: type[Declared], values: dict[str, Any], *, resolved: bool = False) -> Declared:
    """Return `values`, from wherever they come, as a checked declaration, `resolved` or not.

    Raises:
        DeclarationError: A key is missing, unknown or impossible; a line for each.
    """
    try:
        return model.model_validate(values, context={RESOLVED: resolved})
    except ValidationError as error:
        problems = "\n  ".join(_problem(model, each) for each in error.errors())
        raise DeclarationError(problems) from error


def _problem(model: type[BaseModel], error: Any) -> str:
    """Return one line for one thing that is wrong: the key's path, then what to do."""
    key, known = _place(model, error["loc"])
    if error["type"] == "union_tag_invalid":
        tag, expected = (error["ctx"][name] for name in ("tag", "expected_tags"))
        tags = [each.strip("' ") for each in expected.split(",")]
        name = error["ctx"]["discriminator"].strip("'")
        return f"{key}.{name}: {tag!r} is none of: {', '.join(tags)}.{_close(tag, tags)}"
    if error["type"] == "union_tag_not_found":
        return f"{key}: {error['ctx']['discriminator'].strip(chr(39))} is missing."
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']}." if key else f"{error['msg']}."
    advice = _close(str(error["loc"][-1]), known) or f" Known here: {', '.join(known)}."
    return f"{key}: unknown key.{advice}"


def _close(word: str, known: list[str]) -> str:
    """Return advice to use the word of `known` that is most like `word`, if one is."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _place(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """Return the key at the place `loc` as the file has it, and the keys known beside it.

    Where one of several models is chosen by a tag, pydantic counts the tag as a part of the place.
    """
    shown: list[str] = []
    current: Any = model
    known: list[str] = []
    for part in loc:
        chosen = _tagged(current).get(part)
        if chosen is not None:
            current = chosen
            continue
        shown.append(str(part))
        fields = getattr(current, "model_fields", {})
        known = sorted(fields)
        if part in fields:
            current = _innermost(fields[part].annotation)
    return ".".join(shown), known


def _tagged(annotation: Any) -> dict[str | int, Any]:
    """Return the models of a union by their tags: the only value of their first field."""
    tagged: dict[str | int, Any] = {}
    for each in get_args(annotation):
        for field in getattr(each, "model_fields", {}).values():
            if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
                tagged[get_args(field.annotation)[0]] = each
    return tagged


def _innermost(annotation: Any) -> Any:
    """Return the model, or the union of them, in `dict[str, Model]` or `tuple[Model, ...]`."""
    if get_origin(annotation) in (Union, UnionType):
        models = [each for each in get_args(annotation) if hasattr(each, "model_fields")]
        return annotation if len(models) > 1 else (models or [annotation])[0]
    for argument in get_args(annotation):
        inner = _innermost(argument)
        if hasattr(inner, "model_fields") or len(_tagged(inner)) > 1:
            return inner
    return annotation


def discovered(package: str, base: type[Declared], tag: str) -> dict[str, type[Declared]]:
    """Return the declarations in the `spec.py` of each folder of `package`, by their `tag`.

    A folder with a `spec.py` is all that an addition needs: nothing else lists it. Classes whose
    field `tag` has no value are bases of others, and left out.
    """
    found: dict[str, type[Declared]] = {}
    root = importlib.import_module(package)
    for each in sorted(pkgutil.iter_modules(root.__path__), key=lambda each: each.name):
        if not each.ispkg or not (Path(root.__path__[0]) / each.name / "spec.py").is_file():
            continue
        spec = importlib.import_module(f"{package}.{each.name}.spec")
        for kind in vars(spec).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, base)
                and kind.__module__ == spec.__name__
            ):
                name = kind.model_fields[tag].default if tag in kind.model_fields else None
                if isinstance(name, str):
                    found[name] = kind
    return found


def missing_from(file: Path, names: Iterable[str], within: str = "") -> list[str]:
    """Return those of `names` that the Python file `file` does not define, read and not run.

    With `within` those that the body of that class does not define. Empty where only running the
    file can tell: it imports `*`, or the class has bases or comes from elsewhere.

    Raises:
        ValueError: The file cannot be read, or is not Python.
    """
    try:
        body = ast.parse(file.read_bytes(), str(file)).body
    except (OSError, SyntaxError, ValueError) as error:
        message = f"{file}: cannot be read as Python ({error})"
        raise ValueError(message) from error
    if within:
        body = _body_of(body, within)
        if not body:
            return []
    defined = {name for statement in body for name in _names_of(statement)}
    return [] if "*" in defined else [name for name in names if name not in defined]


def own_code(code: str, info: ValidationInfo) -> str:
    """Return "file.py:name" with the file from the root on, if the file defines that name.

    The file is read and not run, since it may import torch. What was checked before stays as it is.

    Raises:
        ValueError: There is no such file, or it does not define the name.
    """
    if is_resolved(info):
        return code
    file, _, name = code.rpartition(":")
    if not Path(file).is_file():
        message = f"{file or code}: no such file, from {Path.cwd()}"
        raise ValueError(message)
    if missing_from(Path(file), [name]):
        message = f"{file}: defines no {name!r}"
        raise ValueError(message)
    return f"{Path(file).resolve()}:{name}"


def _body_of(statements: list[ast.stmt], name: str) -> list[ast.stmt]:
    """Return the body of a class; empty if it is not defined there or has bases."""
    classes = [each for each in statements if isinstance(each, ast.ClassDef) and each.name == name]
    return [] if not classes or classes[-1].bases else classes[-1].body


def _names_of(statement: ast.stmt) -> list[str]:
    """Return the names that a statement binds, those in the blocks of an `if` or a `try` too."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [each.asname or each.name.partition(".")[0] for each in statement.names]
    names: list[str] = []
    for each in ast.walk(statement):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.append(each.id)
        elif isinstance(each, ast.stmt) and each is not statement:
            names += _names_of(each)
    return names
