"""Folders for what compilers cache, on a node where others may write to /tmp too."""

import os
import stat

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from pipeline.training.engine.caches import private_folder

NAME = "cosmotron-me-42-0"


@pytest.fixture(autouse=True)
def tmp(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_its_user_s_alone_and_used_again(tmp):
    old = os.umask(0)
    try:
        made = private_folder(NAME)
    finally:
        os.umask(old)
    assert made == tmp / NAME
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert private_folder(NAME) == made


def open_to_all(path):
    path.mkdir()
    path.chmod(0o777)


def link_to_a_private_one(path):
    (path.parent / "theirs").mkdir(mode=0o700)
    path.symlink_to(path.parent / "theirs")


def of_another_user(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize("prepare", [open_to_all, link_to_a_private_one, of_another_user])
def test_what_another_user_prepared_is_not_used(tmp, prepare):
    prepare(tmp / NAME)
    made = private_folder(NAME)
    assert made.parent == tmp
    assert made != tmp / NAME
    assert made.lstat().st_uid == os.geteuid()
    assert stat.S_IMODE(made.lstat().st_mode) == 0o700
