"""Names that data gives lead nowhere out of their folder, whatever they look like."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import events, stage_task

from pipeline.data.errors import BadInput
from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.source import fetched
from pipeline.data.stage import STAGE
from pipeline.data.store.manifest import _sealed, read_manifest
from pipeline.data.store.opened import Store
from pipeline.inside import OutsideError, checked, inside
from pipeline.outcome import Exit, classify

OUTSIDE = ("../outside", "a/../../outside", "/etc/passwd", "..", "", "a\0b", "./../x")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="leads elsewhere") as caught:
        inside(tmp_path, name)
    assert classify(caught.value).code == Exit.BAD_INPUT


@given(st.text(alphabet="a./\\~$ \n", max_size=12))
def test_what_is_accepted_lies_in_the_folder(name: str) -> None:
    try:
        path = Path("/run/store") / checked(name)
    except OutsideError:
        return
    assert Path(os.path.normpath(path)).is_relative_to("/run/store")


def test_a_link_that_leads_out_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "train").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (folder / "out").symlink_to(tmp_path / "other")
    (folder / "in").symlink_to("train")
    assert inside(folder, "in/x") == folder / "in" / "x"
    with pytest.raises(OutsideError, match="out of its folder"):
        inside(folder, "out/x")
    (tmp_path / "seen as").symlink_to(folder)
    assert inside(tmp_path / "seen as", "train/x").name == "x"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A staged store, beside what is none of its business."""
    raw = tmp_path / "raw" / "spacepoints_000.npz"
    write_npz(raw, events([20, 30, 25], seed=1), labelled=True)
    folder, task = stage_task(tmp_path, {"train": [raw]})
    for step in (["--begin"], ["--part", "0"], ["--finish"]):
        assert run(STAGE, [str(folder.path), *step]) == 0
    return task.store


def changed(store: Path, change: object) -> None:
    """Change the manifest as somebody would who may write it: with a hash of its own."""
    path = store / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    change(content)  # type: ignore[operator]
    path.write_text(_sealed(json.dumps(content, indent=1).removesuffix("\n}")))


@pytest.mark.parametrize("what", ["shard", "split", "array", "file of a shard", "file"])
def test_a_manifest_that_names_what_is_outside_is_refused(store: Path, what: str) -> None:
    name = "../../outside"

    def change(content):  # type: ignore[no-untyped-def]
        shard = content["shards"][0]
        if what == "shard":
            shard["name"] = name
        elif what == "split":
            shard["split"] = name
        elif what == "array":
            shard["arrays"][name] = shard["arrays"]["points"]
        elif what == "file of a shard":
            shard["files"][name] = "0" * 64
        else:
            content["files"][name] = "0" * 64

    changed(store, change)
    with pytest.raises(BadInput, match="is no name in its folder, but leads elsewhere"):
        read_manifest(store)


def test_a_shard_that_is_a_link_to_elsewhere_is_refused(store: Path, tmp_path: Path) -> None:
    (shard,) = (path for path in (store / "train").iterdir() if path.is_dir())
    shard.rename(tmp_path / "moved")
    shard.symlink_to(tmp_path / "moved")
    with pytest.raises(OutsideError, match="out of its folder"):
        Store.open(store).shards("train")


@pytest.mark.parametrize("member", ["../DONE.npz", "set/../../DONE.npz"])
def test_a_member_of_an_archive_lands_in_the_folder_that_is_made_for_it(
    tmp_path: Path, member: str
) -> None:
    archive, task = tmp_path / "archive.zip", tmp_path / "task"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(member, b"harm")
    with (
        pytest.raises(BadInput, match="leads elsewhere"),
        fetched(f"zip://{member}::file://{archive}", (), task / "fetch-00000"),
    ):
        pass
    assert not list(tmp_path.rglob("DONE*"))


def test_a_checkpoint_whose_manifest_names_what_is_outside_does_not_verify(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from pipeline.training.engine import checkpoint

    sealed = tmp_path / "checkpoints" / "step-000000000008"
    sealed.mkdir(parents=True)
    content = {"events_seen": 8, checkpoint.ORDER: checkpoint.order.VERSION}
    content["files"] = {"../../secret": "0" * 64}
    whole = {**content, checkpoint.SEAL: checkpoint._seal(content)}
    (sealed / checkpoint.MANIFEST).write_text(json.dumps(whole))
    with pytest.raises(checkpoint.RunError, match="leads elsewhere"):
        checkpoint.verify(sealed)


@pytest.mark.parametrize("kind", ["external link", "virtual"])
def test_a_file_of_hdf5_that_reads_what_is_outside_is_refused(tmp_path: Path, kind: str) -> None:
    h5py = pytest.importorskip("h5py")
    from pipeline.data.readers.hdf5 import check_whole

    (tmp_path / "given").mkdir()
    with h5py.File(tmp_path / "private.h5", "w") as private:
        private["x"] = [1.0, 2.0]
    path = tmp_path / "given" / "data.h5"
    with h5py.File(path, "w") as given:
        if kind == "virtual":
            layout = h5py.VirtualLayout(shape=(2,), dtype="f8")
            layout[:] = h5py.VirtualSource("../private.h5", "x", shape=(2,))
            given.create_virtual_dataset("x", layout)
        else:
            given["x"] = h5py.ExternalLink("../private.h5", "x")
    with h5py.File(path) as given, pytest.raises(BadInput, match="leads elsewhere"):
        check_whole(path, given["x"])
