"""Whether a dataset of an HDF5 file is all there: HDF5 reads what was never written as zeros.

A writer that dies leaves datasets that were created and not filled; a file of links to others
(virtual datasets, external storage) opens without them. In every one the library returns the fill
value, without an error.
"""

import itertools
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py

from pipeline.data.errors import BadInput
from pipeline.inside import OutsideError, inside

# What the filters of HDF5 check as they unpack: a sum of its own, and zlib's.
CHECKSUMS = {h5py.h5z.FILTER_FLETCHER32: "Fletcher-32", h5py.h5z.FILTER_DEFLATE: "Adler-32"}


def datasets(path: Path, file: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the datasets at the top of the open `file`; `names` are those that a reader knows.

    Raises:
        BadInput: One is no dataset; or is missing, but there is one whose name differs in a letter.
    """
    found = {name: file[name] for name in file}  # items() has nothing for what is damaged
    for name in names:
        near = next((each for each in found if each not in names and _are_near(each, name)), None)
        if name not in found and near is not None:
            message = (
                f"{path}: dataset {near!r}, but no {name!r}. A name is misspelt, or the file is "
                "damaged. Rename the dataset, or fetch the file again."
            )
            raise BadInput(message)
        if name in found and not isinstance(found[name], h5py.Dataset):
            message = f"{path}: {name} is no dataset. The file is damaged; fetch or make it again."
            raise BadInput(message)
    return {name: each for name, each in found.items() if isinstance(each, h5py.Dataset)}


def _are_near(some: str, other: str) -> bool:
    """Return whether two names differ in one letter."""
    return len(some) == len(other) and sum(a != b for a, b in zip(some, other, strict=True)) == 1


def check_whole(path: Path, dataset: Any) -> None:
    """Check that all of `dataset` was written and can be unpacked here.

    Raises:
        BadInput: A part was never written, lies in a file that is not there, or is packed by a
            filter that this HDF5 has not.
    """
    _check_filters(path, dataset)
    _check_place(path, dataset)
    if not dataset.size or not math.prod(dataset.shape):
        return
    fault = _virtual_fault(path, dataset) if dataset.is_virtual else _storage_fault(dataset)
    if fault:
        message = (
            f"{path}: dataset {dataset.name} {fault}; HDF5 would read zeros there. The "
            "writer died, or files that belong to it are missing. Make or fetch the file again."
        )
        raise BadInput(message)


def _check_place(path: Path, dataset: Any) -> None:
    """Check that a link of the file at `path` has not led out of its folder.

    Raises:
        BadInput: It has.
    """
    there = Path(dataset.file.filename)
    if there.resolve() == path.resolve():
        return
    try:
        inside(path.parent, os.path.relpath(there, path.parent))
    except OutsideError as error:
        message = f"{path}: has a link to dataset {dataset.name} of {there}: {error}."
        raise BadInput(message) from error


def checksum_of(datasets: Iterable[Any]) -> str:
    """Return the checksums that all of `datasets` have, "" where one has none."""
    kinds = {
        next((name for code, name in CHECKSUMS.items() if code in _filters(each)), "")
        for each in datasets
    }
    return "" if "" in kinds else f"{' and '.join(sorted(kinds))} of chunks"


def _filters(dataset: Any) -> list[int]:
    made = dataset.id.get_create_plist()
    return [made.get_filter(number)[0] for number in range(made.get_nfilters())]


def _check_filters(path: Path, dataset: Any) -> None:
    """Refuse a dataset packed by a filter that is not installed."""
    made = dataset.id.get_create_plist()
    for number in range(made.get_nfilters()):
        code, _, _, name = made.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            called = name.decode(errors="replace").partition(";")[0] or "unnamed"
            message = (
                f"{path}: dataset {dataset.name} is packed by HDF5 filter {code} ({called}), which "
                f"is not installed here. Install it (pip install hdf5plugin, or set "
                "HDF5_PLUGIN_PATH), or repack the file: h5repack -f GZIP=4 OLD NEW."
            )
            raise BadInput(message)


def _storage_fault(dataset: Any) -> str:
    """Return what is wrong with the storage of a dataset in this file, "" for nothing."""
    if dataset.chunks is not None:
        return _chunk_fault(dataset)
    if dataset.external:
        # HDF5 looks for them in the current folder, not beside the file, and fills what is short.
        return f"lies outside the file, in {', '.join(name for name, *_ in dataset.external)}"
    stored, wanted = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    if stored < wanted:
        return f"has {stored:,} of {wanted:,} bytes, the rest was never written"
    return ""


def _chunk_fault(dataset: Any) -> str:
    """Return what is wrong with the chunks of a dataset, as their index lists them.

    That has no checksum in files that old versions can read. A chunk may have left out a filter, as
    gzip where nothing became smaller; then it has the size of its values.
    """
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    wanted = {*itertools.product(*(range(0, length, chunk) for length, chunk in pairs))}
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    listed: list[tuple[int, ...]] = []
    odd: list[tuple[int, ...]] = []

    def look(chunk: Any) -> None:
        listed.append(tuple(chunk.chunk_offset))
        if chunk.filter_mask and chunk.size != size:
            odd.append(listed[-1])

    dataset.id.chunk_iter(look)
    there = wanted & {*listed}
    if len(there) < len(wanted):
        return f"has {len(there):,} of {len(wanted):,} chunks, the others were never written"
    if len(listed) > len(wanted):
        return f"lists {len(listed):,} chunks for {len(wanted):,} places"
    return f"says of the chunk at {odd[0]} that it is not packed, but it is" if odd else ""


def _virtual_fault(path: Path, dataset: Any) -> str:
    """Return which source of a virtual dataset is not there, or where it has none."""
    covered = 0
    for source in dataset.virtual_sources():
        if "%b" in source.file_name or "%b" in source.dset_name:
            return f"takes rows from a series of files, {source.file_name}, that has no end"
        try:
            file = path if source.file_name == "." else inside(path.parent, source.file_name)
        except OutsideError as error:
            return f"takes rows from {source.file_name}: {error}"
        if not file.is_file():
            return f"takes rows from {file}, which is not there"
        with h5py.File(file, "r") as other:
            if source.dset_name not in other:
                return f"takes rows from {source.dset_name} of {file}, which has no such dataset"
            check_whole(file, other[source.dset_name])
        covered += source.vspace.get_select_npoints()
    if covered < dataset.size:
        return f"has sources for {covered:,} of {dataset.size:,} values"
    return ""
