"""The source files that a pattern matches, here or at an address."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalog import DeclarationError
from pipeline.masking import expanded, unexpanded, variables

if TYPE_CHECKING:
    from pipeline.campaign.sections import Dataset

WILDCARDS = "*?["
CHAIN = "::"
ARCHIVE_BLOCK_BYTES = 1 << 18
# We retry ourselves; XRootD's client alone waits ten minutes for a server that is gone.
XROOTD = {"XRD_CONNECTIONWINDOW": "15", "XRD_CONNECTIONRETRY": "1"}


def below(folder: str, pattern: str) -> str:
    """Return `pattern` below `folder`, which may be an address or the first link of a chain."""
    head, chain, rest = folder.partition(CHAIN)
    return f"{head.rstrip('/')}/{pattern}{chain}{rest}"


def found(pattern: str) -> tuple[str, ...]:
    """Return the files that `pattern` matches, sorted; none if there are none.

    What exists by this very name is that file, whatever letters it has; so are the folders that a
    pattern begins with. One without wildcards is taken as it is. A pattern may be an address, as in
    `root://host//folder/*.root`; in a chain, as in `zip://folder/*.npz::https://host/archive.zip`,
    only the first link may have wildcards.

    Raises:
        DeclarationError: What is at the address cannot be listed.
    """
    if not _is_pattern(pattern.partition(CHAIN)[0]):
        return (pattern,)
    return _remote(pattern) if "://" in pattern else _local(pattern)


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in WILDCARDS)


def _local(pattern: str) -> tuple[str, ...]:
    """Return the paths that `pattern` matches below the folders of it that exist by their names."""
    path = Path(pattern)
    base, rest = Path(path.anchor), [part for part in path.parts if part != path.anchor]
    while rest and os.path.lexists(base / rest[0]):
        base /= rest.pop(0)
    if not rest or not any(map(_is_pattern, rest)):
        return (pattern,)
    return tuple(sorted(map(str, base.glob("/".join(rest)))))


def system_of(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of `address`, its variables expanded, and the path in it.

    Of an archive we open the file ourselves: fsspec would read 5 MB ahead of every member, and
    cannot pass the server of a root:// address on.
    """
    from fsspec.core import url_to_fs  # takes a while to load
    from fsspec.implementations.zip import ZipFileSystem

    address = expanded(address)
    if "root://" in address:
        os.environ.update({name: os.environ.get(name, value) for name, value in XROOTD.items()})
    head, chain, rest = address.partition(CHAIN)
    if not chain or not head.startswith("zip://"):
        return url_to_fs(address)  # type: ignore[no-any-return]
    system, path = url_to_fs(rest)
    archive = ZipFileSystem(system.open(path, "rb", block_size=ARCHIVE_BLOCK_BYTES))
    return archive, head.removeprefix("zip://").strip("/")


def sources_of(name: str, dataset: "Dataset", *, elsewhere: bool) -> dict[str, tuple[str, ...]]:
    """Return the files that the patterns of a dataset match, sorted, per split.

    With `elsewhere` the files may be on another machine: a split without files here gets
    placeholder names, as many as the dataset declares.

    Raises:
        DeclarationError: A pattern matches no file, there are fewer than declared, a link leads
            nowhere, or a file is listed twice.
    """
    folder = _folder(dataset.folder)
    splits = {
        split: _of_split(f"datasets.{name}.splits.{split}", folder, patterns, elsewhere=elsewhere)
        for split, patterns in dataset.splits.items()
    }
    for split, there in splits.items():
        expected = dataset.files.get(split, 0)
        where = f"datasets.{name}.splits.{split}"
        if not there and elsewhere and expected:
            names = (f"{split}-{number:05d}" for number in range(expected))
            splits[split] = tuple(below(folder, each) for each in names)
        elif not there:
            raise DeclarationError(_no_match(where, dataset.splits[split], folder))
        elif len(there) < expected:
            message = (
                f"{where}: {len(there)} of {expected} files are below {folder}. Fetch the others "
                f"first, or correct datasets.{name}.files."
            )
            raise DeclarationError(message)
    check_each_once(f"datasets.{name}.splits", splits)
    return splits


def _of_split(
    where: str, folder: str, patterns: Sequence[str], *, elsewhere: bool
) -> tuple[str, ...]:
    """Return the files of one split, sorted.

    Raises:
        DeclarationError: A pattern matches none, or a link leads nowhere, and not `elsewhere`.
    """
    there: list[str] = []
    for pattern in patterns:
        files = _existing(below(folder, pattern), where, elsewhere=elsewhere)
        if not files and not elsewhere:
            raise DeclarationError(_no_match(where, [pattern], folder))
        there += files
    return tuple(sorted(there))


def _no_match(where: str, patterns: Sequence[str], folder: str) -> str:
    return (
        f"{where}: no file matches {', '.join(patterns)} below {folder}. Check the folder, or "
        "fetch the files first."
    )


def _folder(declared: str) -> str:
    """Return the folder of a dataset: of a path the absolute one, with its variables expanded.

    Those of an address stay, since they may be secrets, until a file is opened.

    Raises:
        DeclarationError: A variable hides that it is an address.
    """
    if "://" in declared:
        return declared
    path = os.path.expandvars(declared)
    if "://" in path:
        message = (
            f"{declared}: a variable hides the scheme of an address. Write it out, as in "
            "https://$HOST/folder."
        )
        raise DeclarationError(message)
    return str(Path(path).expanduser().absolute())


def _existing(pattern: str, where: str, *, elsewhere: bool) -> list[str]:
    """Return the files that `pattern` matches; those on other machines are taken to exist.

    Raises:
        DeclarationError: Some are links that lead nowhere, and not `elsewhere`.
    """
    files = found(pattern)
    paths = [Path(file) for file in files if "://" not in file]
    broken = [str(path) for path in paths if path.is_symlink() and not path.exists()]
    if broken and not elsewhere:
        message = (
            f"{where}: {len(broken)} of {len(files)} files are links to what is not there, the "
            f"first is {broken[0]}. Fetch them (git annex get, datalad get, hf download), or take "
            "them out of the pattern."
        )
        raise DeclarationError(message)
    return [file for file in files if "://" in file or Path(file).exists() or file in broken]


def check_each_once(where: str, splits: Mapping[str, Sequence[str]]) -> None:
    """Check that no file is listed twice, by whatever names and links, in one split or in two.

    Raises:
        DeclarationError: One is; the message has both names.
    """
    seen: dict[str, tuple[str, str]] = {}
    folders: dict[Path, Path] = {}
    for split, names in splits.items():
        for name in names:
            file = _itself(name, folders)
            if file not in seen:
                seen[file] = (split, name)
                continue
            other, same = seen[file]
            splits_of = f"{other} and {split}" if other != split else f"{split}, twice"
            names_of = f"{same} and {name} are one file" if same != name else f"{name} is listed"
            message = (
                f"{where}: {names_of} ({splits_of}). Its events would be staged twice; list it "
                "once."
            )
            raise DeclarationError(message)


def _itself(name: str, folders: dict[Path, Path]) -> str:
    """Return the path of the file `name` without links, or its address; `folders` are known."""
    if "://" in name:
        return name
    path = Path(name)
    if path.is_symlink():
        return str(path.resolve())
    if path.parent not in folders:
        folders[path.parent] = path.parent.resolve()
    return str(folders[path.parent] / path.name)


def _remote(pattern: str) -> tuple[str, ...]:
    head, chain, rest = pattern.partition(CHAIN)
    scheme = head.partition("://")[0]
    first = next(at for at, letter in enumerate(head) if letter in WILDCARDS)
    if variables(head[first:]):
        message = f"{pattern}: put variables before the first wildcard, or name each file."
        raise DeclarationError(message)
    try:
        system, path = system_of(pattern)
        if system.exists(path):
            return (pattern,)
        names: list[Any] = sorted(system.glob(path))
    except Exception as error:  # each network library raises other errors
        reason = unexpanded(str(error), pattern)
        message = f"{pattern}: cannot be listed ({reason}). Check the address, or name each file."
        raise DeclarationError(message) from error
    there = (_address(scheme, str(name), expanded(pattern)) for name in names)
    return tuple(_as_declared(each, head[:first]) + chain + rest for each in there)


def _as_declared(address: str, declared: str) -> str:
    """Return `address`, as listed, with its beginning as it was `declared`, with variables.

    Raises:
        DeclarationError: The listing does not begin with their values.
    """
    if not variables(declared):
        return address
    if not address.startswith(expanded(declared)):
        message = f"{declared}: the server lists other names. Name each file."
        raise DeclarationError(message)
    return declared + address.removeprefix(expanded(declared))


def _address(scheme: str, name: str, pattern: str) -> str:
    """Return the address of `name`, as a file system lists it: some give the host, some do not."""
    if "://" in name:
        return name
    host = pattern.partition("://")[2].partition("/")[0]
    return f"{scheme}://{host}/{name}" if scheme == "root" else f"{scheme}://{name}"
