"""A parquet file is read the same whatever else is imported, and its checksums are looked at."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.errors import BadInput
from pipeline.data.readers.parquet_rows import Rows, extensions, opened_parquet

NESTED = """
import sys
import awkward, pyarrow.parquet
events = awkward.Array([{"photons": {"t": [0.5] * n, "x": [1.5] * n}} for n in (2, 0, 3)])
pyarrow.parquet.write_table(awkward.to_arrow_table(events, extensionarray=True), sys.argv[1])
"""
READ = """
import sys
from pathlib import Path
if sys.argv[2] == "after":
    import awkward._connect.pyarrow
from pipeline.data.readers.parquet_rows import Rows, extensions, opened_parquet
with opened_parquet(Path(sys.argv[1])) as file:
    assert not extensions(file.schema)
    print(Rows(Path(sys.argv[1]), file, ("photons.t",)).read(0, 3).to_pylist())
if sys.argv[2] == "after":
    import pyarrow.parquet
    assert set(extensions(pyarrow.parquet.read_schema(sys.argv[1]))) == {"awkward"}
"""


def python(code, *arguments):
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_file_of_awkwards_is_read_alike_before_and_after_it_is_imported(tmp_path):
    path = tmp_path / "made.parquet"
    python(NESTED, path)
    before, after = (python(READ, path, when) for when in ("before", "after"))
    assert before == after
    assert "[{'photons': {'t': [0.5, 0.5]}}, {'photons': {'t': []}}" in before


def test_extension_types_are_found_in_structs_and_lists():
    class Kind(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.float32(), "kind")

        def __arrow_ext_serialize__(self):
            return b""

    kind = Kind()  # pyarrow holds it weakly
    inside = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.field("item", kind)))])
    assert set(extensions(pa.schema([("x", pa.list_(inside)), ("y", pa.int8())]))) == {"kind"}


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("share", np.linspace(0.1, 0.8, 8))
def test_a_flipped_bit_in_a_page_with_a_checksum_is_told(tmp_path, share, compression):
    path = tmp_path / "made.parquet"
    values = np.random.default_rng(1).normal(size=1000)
    pq.write_table(
        pa.table({"charge": values}),
        path,
        write_page_checksum=True,
        compression=compression,
        use_dictionary=False,
    )
    content = bytearray(path.read_bytes())
    content[200 + int(share * 7000)] ^= 4
    path.write_bytes(content)
    with pytest.raises(BadInput, match="CRC"), opened_parquet(path) as file:
        Rows(path, file, ("charge",)).read(0, 1000)


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("checksum", [False, True])
def test_whether_pages_have_checksums_is_known(tmp_path, checksum, compression, dictionary):
    path = tmp_path / "made.parquet"
    pq.write_table(
        pa.table({"x": np.arange(1000) % 7}),
        path,
        write_page_checksum=checksum,
        compression=compression,
        use_dictionary=dictionary,
    )
    with opened_parquet(path) as file:
        assert file.checksum == ("CRC-32 of pages" if checksum else "")
