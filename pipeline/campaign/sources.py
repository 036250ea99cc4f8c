"""The source files that a pattern matches, here or at an address."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalog import DeclarationError

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

    A pattern may be an address, as in `root://host//folder/*.root`; in a chain, as in
    `zip://folder/*.npz::https://host/archive.zip`, only the first link may have wildcards. One
    without wildcards is taken as it is.

    Raises:
        DeclarationError: What is at the address cannot be listed.
    """
    if not any(letter in pattern.partition(CHAIN)[0] for letter in WILDCARDS):
        return (pattern,)
    if "://" not in pattern:
        path = Path(pattern)
        return tuple(sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor))))))
    return _remote(pattern)


def system_of(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of `address`, and the path in it.

    Of an archive we open the file ourselves: fsspec would read 5 MB ahead of every member, and
    cannot pass the server of a root:// address on.
    """
    from fsspec.core import url_to_fs  # takes a while to load
    from fsspec.implementations.zip import ZipFileSystem

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
        DeclarationError: There is no file, or fewer than declared.
    """
    is_remote = "://" in dataset.folder
    local = dataset.folder if is_remote else str(Path(dataset.folder).expanduser())
    folder = os.path.expandvars(local)
    splits = {}
    for split, patterns in dataset.splits.items():
        there = _existing(folder, patterns)
        expected = dataset.files.get(split, 0)
        where = f"datasets.{name}.splits.{split}"
        if not there and elsewhere and expected:
            there = [below(folder, f"{split}-{number:05d}") for number in range(expected)]
        if not there:
            message = (
                f"{where}: no file matches {', '.join(patterns)} "
                f"below {folder}. Check the folder, or fetch the files first."
            )
            raise DeclarationError(message)
        if len(there) < expected:
            message = (
                f"{where}: {len(there)} of {expected} files are below {folder}. Fetch the others "
                f"first, or correct datasets.{name}.files."
            )
            raise DeclarationError(message)
        splits[split] = tuple(sorted(there))
    return splits


def _existing(folder: str, patterns: tuple[str, ...]) -> list[str]:
    """Return the files that the patterns match; those on other machines are taken to exist."""
    files = [file for each in patterns for file in found(below(folder, each))]
    return [file for file in files if "://" in file or Path(file).exists()]


def _remote(pattern: str) -> tuple[str, ...]:
    head, chain, rest = pattern.partition(CHAIN)
    scheme = head.partition("://")[0]
    try:
        system, path = system_of(pattern)
        names: list[Any] = sorted(system.glob(path))
    except Exception as error:  # each network library raises other errors
        message = f"{pattern}: cannot be listed ({error}). Check the address, or name each file."
        raise DeclarationError(message) from error
    return tuple(_address(scheme, str(name), pattern) + chain + rest for name in names)


def _address(scheme: str, name: str, pattern: str) -> str:
    """Return the address of `name`, as a file system lists it: some give the host, some do not."""
    if "://" in name:
        return name
    host = pattern.partition("://")[2].partition("/")[0]
    return f"{scheme}://{host}/{name}" if scheme == "root" else f"{scheme}://{name}"
