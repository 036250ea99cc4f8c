"""Weights in a file of safetensors: whole, readable by others, with a word on what they are."""

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from safetensors import safe_open

from pipeline.data.errors import BadInput
from pipeline.release.export import ExportError
from pipeline.release.export import weights_hash as hash_of_file
from pipeline.training.engine.engine import weights_hash
from pipeline.training.weights import load, save

WEIGHTS = {
    "b": torch.arange(6.0).reshape(2, 3).T,
    "a": torch.ones(3, dtype=torch.bfloat16),
    "steps": torch.tensor(7),
    "none": torch.zeros(0, 4),
}


def test_what_was_saved_is_loaded_and_says_what_it_is(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(WEIGHTS, path, {"family": "pointgpt"})
    assert weights_hash(load(path)) == weights_hash(WEIGHTS)
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "family": "pointgpt"}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_tensors_that_share_memory_are_written_each_by_itself(tmp_path):
    flat = torch.arange(8.0)
    shared = {"tied": flat, "also": flat, "first": flat[:4], "last": flat[4:].reshape(2, 2)}
    save(shared, tmp_path / "w.safetensors", {})
    for name, value in load(tmp_path / "w.safetensors").items():
        assert torch.equal(value, shared[name])


def test_a_login_node_finds_the_same_hash_without_torch(tmp_path):
    path = tmp_path / "w.safetensors"
    save(WEIGHTS, path, {})
    assert hash_of_file(path) == weights_hash(WEIGHTS)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\2\0\0\0\0\0\0\0[]"])
def test_a_file_of_something_else_is_named(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"w.safetensors: no whole safetensors file"):
        hash_of_file(path)


def test_a_file_cut_short_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    save(WEIGHTS, path, {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ExportError, match="no whole safetensors file"):
        hash_of_file(path)


@pytest.mark.parametrize("size", [0, 4, 60])
def test_weights_that_are_not_whole_end_in_one_message(tmp_path, size):
    path = tmp_path / "w.safetensors"
    save({"weight": torch.ones(8)}, path, {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInput, match=r"w.safetensors: no whole safetensors .* export it again"):
        load(path)


def test_a_group_may_read_them_where_the_umask_says_so(tmp_path):
    for mask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            save({"w": torch.ones(2)}, tmp_path / "weights.safetensors", {})
        finally:
            os.umask(before)
        assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == mode
