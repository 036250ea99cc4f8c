"""A list of known hashes tells what a format cannot tell itself."""

import hashlib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.errors import BadInput
from pipeline.data.known_hashes import check_known, read_known

A, B = "a" * 64, "b" * 64
LISTED = Path("sums.txt")


def listed(tmp_path, text):
    (tmp_path / "sums.txt").write_text(text)
    return read_known(tmp_path / "sums.txt")


def test_what_sha256sum_writes_is_read(tmp_path):
    text = f"# made by us\n{A}  ./train/f 0.root\n\n{B.upper()} *g.root\n"
    assert listed(tmp_path, text) == {
        PurePosixPath("train/f 0.root"): A,
        PurePosixPath("g.root"): B,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc  f.root\n", "line 1 is 'abc  f.root'; expected 64 hexadecimal digits"),
        (f"{A}\n", "line 1 is"),
        (f"{A}  f\n{B}  f\n", "line 2 has another hash of f than a line before"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        listed(tmp_path, text)


def test_a_list_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInput, match="cannot be read as a list of SHA-256"):
        read_known(tmp_path / "none")


def test_the_longest_common_end_decides():
    known = {PurePosixPath("train/f.root"): A, PurePosixPath("test/f.root"): B}
    check_known(known, LISTED, "/data/here/train/f.root", A)
    check_known(known, LISTED, "https://host/test/f.root", B)
    with pytest.raises(BadInput, match=r"several files of this name: train/f.root, test/f.root"):
        check_known(known, LISTED, "/data/f.root", A)


def test_another_content_is_told():
    with pytest.raises(BadInput, match=f"its SHA-256 is {B}, but sums.txt has {A}.*fetch it again"):
        check_known({PurePosixPath("f.root"): A}, LISTED, "/data/f.root", B)


def test_a_file_that_is_not_listed_is_told():
    with pytest.raises(BadInput, match=r"not in the list sums.txt. Add its hash: sha256sum /x/g"):
        check_known({PurePosixPath("f.root"): A}, LISTED, "/x/g.root", A)


@given(content=st.binary(max_size=20), place=st.integers(0), bit=st.integers(0, 7))
def test_a_file_passes_and_no_other_does(content, place, bit):
    known = {PurePosixPath("f"): hashlib.sha256(content).hexdigest()}
    check_known(known, LISTED, "/data/f", hashlib.sha256(content).hexdigest())
    other = bytearray(content or b"x")
    other[place % len(other)] ^= 1 << bit
    with pytest.raises(BadInput, match="is damaged"):
        check_known(known, LISTED, "/data/f", hashlib.sha256(bytes(other)).hexdigest())
