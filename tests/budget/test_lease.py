import multiprocessing
import os
import time

import pytest

from pipeline.budget import lease as lease_module
from pipeline.budget.lease import NAME, LeaseError, lease


def add(folder, barrier, times):
    """Read a number and write one more, which loses some where two do so at once."""
    barrier.wait()
    for _ in range(times):
        with lease(folder):
            number = int((folder / "number").read_text())
            time.sleep(0.001)
            (folder / "number").write_text(str(number + 1))


def test_one_process_at_a_time(tmp_path):
    (tmp_path / "number").write_text("0")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    workers = [spawn.Process(target=add, args=(tmp_path, barrier, 25)) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(120)
        assert each.exitcode == 0
    assert (tmp_path / "number").read_text() == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_the_lease_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lease(tmp_path):
        1 / 0  # noqa: B018
    with lease(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("skew_seconds", [-172_800.0, 0.0, 172_800.0])
def test_a_dead_holder_s_lease_expires_whatever_its_clock_says(tmp_path, skew_seconds):
    (tmp_path / NAME).write_text("login07 4711\n")
    dated = time.time() + skew_seconds
    os.utime(tmp_path / NAME, (dated, dated))
    begun = time.monotonic()
    with lease(tmp_path, lease_seconds=0.5):
        assert 0.5 < time.monotonic() - begun < 1.5
    assert list(tmp_path.iterdir()) == []


def test_who_waits_too_long_is_told_for_whom(tmp_path, monkeypatch):
    (tmp_path / NAME).write_text("login07 4711\n")
    tokens = (f"login07 4711\n{number}" for number in range(1000))  # it is taken again and again
    monkeypatch.setattr(lease_module, "_content", lambda _: next(tokens))
    told = rf"{NAME}: held by login07 4711\. Remove it if that process is dead"
    with pytest.raises(LeaseError, match=told), lease(tmp_path, lease_seconds=0.05):
        pass
    assert (tmp_path / NAME).exists()


def test_a_lease_that_is_new_by_now_is_put_back(tmp_path):
    taken, mine = tmp_path / NAME, tmp_path / f"{NAME}.mine"
    mine.touch()
    taken.write_text("login08 12\nanother")
    inode = taken.stat().st_ino
    lease_module._remove_expired(taken, mine, "login07 4711\n")
    assert taken.stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.mine"]


def test_who_lost_its_lease_does_not_take_another_s_away(tmp_path):
    with lease(tmp_path):
        (tmp_path / NAME).unlink()  # its lease passed, and another has it now
        (tmp_path / NAME).write_text("login07 4711\n")
    assert (tmp_path / NAME).read_text() == "login07 4711\n"
