"""The source files that a pattern means, here or at an address."""

from pathlib import Path
from typing import Any

from pipeline.catalog import DeclarationError

WILDCARDS = "*?["
CHAIN = "::"


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


def _remote(pattern: str) -> tuple[str, ...]:
    from fsspec.core import url_to_fs  # noqa: PLC0415  # takes a while to load

    head, chain, rest = pattern.partition(CHAIN)
    scheme = head.partition("://")[0]
    try:
        system, path = url_to_fs(pattern)
        names: list[Any] = sorted(system.glob(path))
    except Exception as error:  # every network library has errors of its own
        message = f"{pattern}: cannot be listed ({error}). Check the address, or name each file."
        raise DeclarationError(message) from error
    return tuple(_address(scheme, str(name), pattern) + chain + rest for name in names)


def _address(scheme: str, name: str, pattern: str) -> str:
    """Return the address of `name`, as a file system lists it: some give the host, some do not."""
    if "://" in name:
        return name
    host = pattern.partition("://")[2].partition("/")[0]
    return f"{scheme}://{host}/{name}" if scheme == "root" else f"{scheme}://{name}"
