"""Whether a dataset of an HDF5 file is all there: HDF5 reads what was never written as zeros.

A writer that dies leaves datasets that were created and not filled; a file of links to others
(virtual datasets, external storage) opens without them. In every one the library returns the fill
value, without an error.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py

from pipeline.data.errors import BadInput

# What the filters of HDF5 check as they unpack: a sum of its own, and zlib's.
CHECKSUMS = {h5py.h5z.FILTER_FLETCHER32: "Fletcher-32", h5py.h5z.FILTER_DEFLATE: "Adler-32"}


def check_whole(path: Path, dataset: Any) -> None:
    """Check that all of `dataset` was written and can be unpacked here.

    Raises:
        BadInput: A part was never written, lies in a file that is not there, or is packed by a
            filter that this HDF5 has not.
    """
    _check_filters(path, dataset)
    if not dataset.size or not math.prod(dataset.shape):
        return
    fault = _virtual_fault(path, dataset) if dataset.is_virtual else _storage_fault(path, dataset)
    if fault:
        message = (
            f"{path}: dataset {dataset.name} {fault}; HDF5 would read zeros there. The "
            "writer died, or files that belong to it are missing. Make or fetch the file again."
        )
        raise BadInput(message)


def checksum_of(datasets: Iterable[Any]) -> str:
    """Return what tells a wrong bit in all of `datasets`, "" where one has nothing."""
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


def _storage_fault(path: Path, dataset: Any) -> str:
    """Return what is wrong with the storage of a dataset in this file, "" for nothing."""
    if dataset.chunks is not None:
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        wanted = math.prod(-(-length // chunk) for length, chunk in pairs)
        there = dataset.id.get_num_chunks()
        missing = f"has {there:,} of {wanted:,} chunks, the others were never written"
        return missing if there < wanted else ""
    if dataset.external:
        return _external_fault(path, dataset)
    stored, wanted = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    if stored < wanted:
        return f"has {stored:,} of {wanted:,} bytes, the rest was never written"
    return ""


def _external_fault(path: Path, dataset: Any) -> str:
    """Return which file of an external storage is missing or short, "" for none."""
    left = dataset.size * dataset.dtype.itemsize
    for name, offset, size in dataset.external:
        file, wanted = path.parent / name, min(left, size)  # a size without a limit is enormous
        if not file.is_file():
            return f"lies in {file}, which is not there"
        length = file.stat().st_size
        if length < offset + wanted:
            return f"lies in {file}, which has {length:,} of {offset + wanted:,} bytes"
        left -= wanted
    return f"has no place for {left:,} of its bytes" if left else ""


def _virtual_fault(path: Path, dataset: Any) -> str:
    """Return which source of a virtual dataset is not there, or where it has none."""
    covered = 0
    for source in dataset.virtual_sources():
        if "%b" in source.file_name or "%b" in source.dset_name:
            return f"takes rows from a series of files, {source.file_name}, that has no end"
        file = path if source.file_name == "." else path.parent / source.file_name
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
