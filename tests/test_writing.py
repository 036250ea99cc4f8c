"""What is written so that it stays: the order of syncs and names, and what a failure leaves."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from pipeline.leftovers import hidden
from pipeline.outcome import RunError
from pipeline.writing import (
    all_written,
    create_text,
    keep,
    make_folder,
    new_folder,
    sync_all,
    write_text,
    written,
)


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with written(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_files_that_belong_together_come_together(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(FileNotFoundError), all_written(paths) as temporaries:
        temporaries[0].write_text("a")  # and no b
    assert names(tmp_path) == []
    with all_written(paths) as temporaries:
        for each in temporaries:
            each.write_text(each.name)
    assert names(tmp_path) == ["a", "b"]


def test_what_a_killed_writer_left_is_removed_and_others_left_alone(tmp_path):
    (tmp_path / ".a[1].txt.123.tmp").write_text("half")
    (tmp_path / ".a1.txt.123.tmp").write_text("at work")
    with written(tmp_path / "a[1].txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == [".a1.txt.123.tmp", "a[1].txt"]


@pytest.fixture
def done(monkeypatch):
    """The syncs, renames and links that are made, in their order, each with the name it is of."""
    seen = []

    def watched(what, real):
        def call(first, *others, **settings):
            name = str(Path(f"/proc/self/fd/{first}").readlink() if what == "sync" else others[0])
            found = real(first, *others, **settings)
            seen.append((what, Path(name).name))
            return found

        return call

    for what, name in (
        ("sync", "fsync"),
        ("name", "rename"),
        ("name", "replace"),
        ("name", "link"),
    ):
        monkeypatch.setattr(os, name, watched(what, getattr(os, name)))
    remove = shutil.rmtree

    def removed(path, **settings):
        seen.append(("remove", Path(path).name))
        remove(path, **settings)

    monkeypatch.setattr(shutil, "rmtree", removed)
    return seen


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(tmp_path, done):
    for write in (write_text, create_text):
        done.clear()
        write(tmp_path / f"{write.__name__}.json", "text")
        assert [what for what, _ in done] == ["sync", "name", "sync"]
        assert done[1:] == [("name", f"{write.__name__}.json"), ("sync", tmp_path.name)]
    done.clear()
    with written(tmp_path / "file") as unfinished:
        unfinished.write_text("text")
    assert [what for what, _ in done] == ["sync", "name", "sync"]


def test_what_may_be_old_after_a_crash_costs_one_sync(tmp_path, done):
    write_text(tmp_path / "heartbeat.json", "text", durable=False)
    assert [what for what, _ in done] == ["sync", "name"]


def test_all_in_a_folder_is_synced_before_it_has_its_name(tmp_path, done):
    with new_folder(tmp_path / "made") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("a")
        (folder / "b").write_text("b")
    named = done.index(("name", "made"))
    assert {name for _, name in done[:named]} == {"a", "b", "deep", folder.name}
    assert done[named + 1] == ("sync", tmp_path.name)


def test_new_folders_above_a_file_stay_too(tmp_path, done):
    make_folder(tmp_path / "a" / "b")
    assert done == [("sync", tmp_path.name), ("sync", "a")]
    done.clear()
    make_folder(tmp_path / "a" / "b")
    assert done == []


def test_what_a_folder_replaces_is_removed_after_the_new_one_stays(tmp_path, done):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "content").write_text("old")
    with new_folder(tmp_path / "old", replaces=True) as folder:
        (folder / "content").write_text("new")
    assert (tmp_path / "old" / "content").read_text() == "new"
    assert names(tmp_path) == ["old"]
    removed = done.index(("remove", hidden(Path("old")).with_suffix(".old.tmp").name))
    assert done[removed - 2 : removed] == [("name", "old"), ("sync", tmp_path.name)]
    with pytest.raises(RunError, match="not empty"), new_folder(folder.parent):
        pass


def test_a_folder_that_replaces_none_leaves_the_one_that_was_faster(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        keep(tmp_path / "mine", tmp_path / "theirs", replaces=False)
    assert (tmp_path / "theirs" / "content").read_text() == "theirs"


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    for name in ("mine", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    real = Path.rename

    def rename(self, to):
        if self.name == "mine":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        keep(tmp_path / "mine", tmp_path / "old")
    assert (tmp_path / "old" / "content").read_text() == "old"
    assert names(tmp_path) == ["mine", "old"]


def failing(monkeypatch, number, *, folders):
    """Let each sync of folders, or of files, fail with the system's error `number`."""
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}") == folders:  # noqa: PTH112
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_file_system_that_syncs_no_folders_is_written_to(tmp_path, monkeypatch):
    failing(monkeypatch, errno.EINVAL, folders=True)
    write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"


@pytest.mark.parametrize(
    ("number", "folders"), [(errno.EIO, True), (errno.EINVAL, False), (errno.EIO, False)]
)
def test_any_other_sync_that_fails_is_an_error_that_names_what_failed(
    tmp_path, monkeypatch, number, folders
):
    failing(monkeypatch, number, folders=folders)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_text(tmp_path / "a", "text")
    assert caught.value.filename == str(tmp_path if folders else tmp_path / "a")
    (tmp_path / "b").write_text("text")
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        sync_all([tmp_path])
    assert caught.value.filename in {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")}


def test_files_and_folders_follow_the_umask(tmp_path):
    for mask, mode in ((0o002, 0o664), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            write_text(tmp_path / f"{mask}", "text")
            create_text(tmp_path / f"{mask} new", "text")
            with new_folder(tmp_path / f"{mask} folder"):
                pass
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}").stat().st_mode & 0o777 == mode
        assert (tmp_path / f"{mask} new").stat().st_mode & 0o777 == mode
        assert (tmp_path / f"{mask} folder").stat().st_mode & 0o777 == 0o777 & ~mask
