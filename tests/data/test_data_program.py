import errno
import os
import re
import subprocess
import sys
import time

import pytest
from made_events import events, simulate_task, stage_task

from pipeline.claims import detecting, newest
from pipeline.data import simulate
from pipeline.data.program import in_turn, run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulate import SIMULATE
from pipeline.data.simulation.simulator import Simulator
from pipeline.data.stage import STAGE
from pipeline.outcome import Exit
from pipeline.writing import read_json

HOLD = """
import sys, time
from pathlib import Path
from pipeline.claims import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1)
"""


def test_a_claim_held_by_a_living_process_is_waited_for(tmp_path):
    claim = tmp_path / "000.claim"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(claim)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        began = time.monotonic()
        with in_turn(claim):
            assert time.monotonic() - began > 0.5
        assert other.wait() == 0


def test_two_processes_never_make_the_same_part(tmp_path):
    folder, _ = simulate_task(tmp_path, files={"train": 1})
    command = [sys.executable, "-m", "pipeline.data.simulate", str(folder.path), "--part", "0"]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as two:
        assert (one.wait(), two.wait()) == (0, 0)
    assert [path.name for path in folder.parts.glob("*.json")] == ["000.json"]


def test_a_damaged_claim_is_nobodys_after_the_silent_time(tmp_path, monkeypatch):
    monkeypatch.setenv(detecting.VARIABLE, "0.5")
    claim = tmp_path / "000.claim"
    claim.mkdir()
    (claim / "00000001.json").write_text("{")
    with in_turn(claim):
        assert newest(claim).number == 2


def test_a_damaged_record_fails_with_its_path(tmp_path, capsys):
    folder, _ = simulate_task(tmp_path)
    folder.parts.mkdir()
    (folder.parts / "000.json").write_text("{")
    assert run(SIMULATE, [str(folder.path), "--part", "0"]) == Exit.BUSY
    assert "000.json: damaged" in capsys.readouterr().err
    assert read_json(folder.result)["outcome"] == "unusable"


@pytest.mark.parametrize("part", ["2", "-1"])
def test_a_part_that_is_not_there_names_those_that_are(tmp_path, capsys, part):
    folder, _ = simulate_task(tmp_path)
    assert run(SIMULATE, [str(folder.path), "--part", part]) == Exit.BAD_INPUT
    assert f"no part {part}; give --part 0 to 1" in capsys.readouterr().err


def test_a_folder_without_a_task_is_a_mistake_in_use(tmp_path, capsys):
    assert run(SIMULATE, [str(tmp_path), "--finish"]) == Exit.USAGE
    assert "task.toml: cannot be read" in capsys.readouterr().err
    assert read_json(tmp_path / "result.json")["outcome"] == "usage"
    assert run(SIMULATE, [str(tmp_path / "none"), "--finish"]) == Exit.USAGE
    assert not (tmp_path / "none").exists(), "no folder is made for a result"


def test_a_step_must_be_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(SIMULATE, [str(tmp_path)])
    assert "--part" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_what_cannot_be_written_names_path_and_remedy(tmp_path, capsys, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), "disk/file")

    folder, _ = simulate_task(tmp_path)
    monkeypatch.setattr(simulate, "simulator", lambda _: Simulator(refuse))
    assert run(SIMULATE, [str(folder.path), "--part", "0"]) == Exit.CANNOT_WRITE
    message = capsys.readouterr().err
    assert message.startswith(f"disk/file: {os.strerror(code)}. ")
    assert message.count("\n") == 1
    assert "or write elsewhere" in message
    full = code in (errno.ENOSPC, errno.EDQUOT)
    assert read_json(folder.result)["outcome"] == ("disk_full" if full else "cannot_write")


def test_other_errors_of_the_system_are_recorded(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    folder, _ = simulate_task(tmp_path)
    monkeypatch.setattr(simulate, "simulator", lambda _: Simulator(refuse))
    assert run(SIMULATE, [str(folder.path), "--part", "0"]) == Exit.IO_ERROR
    assert f"{folder.path}: Input/output error. " in capsys.readouterr().err
    assert read_json(folder.result)["outcome"] == "io_error"


@pytest.fixture
def small_disk(tmp_path):
    """Yield a folder on a file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["npz", "root"])
def test_a_full_disk_stops_a_simulation_and_leaves_nothing_half_written(
    tmp_path, small_disk, capsys, kind
):
    folder, task = simulate_task(small_disk, files={"train": 1}, format=kind, events_per_file=30)
    assert run(SIMULATE, [str(folder.path), "--part", "0"]) == Exit.CANNOT_WRITE
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert str(small_disk) in message
    assert list(task.output.rglob("*.*")) == []


def test_a_full_disk_stops_staging_and_leaves_nothing_half_written(tmp_path, small_disk, capsys):
    source = tmp_path / "spacepoints_000.npz"
    write_npz(source, events([2000, 2000]), labelled=True)
    folder, task = stage_task(small_disk, {"train": (source,)})
    assert run(STAGE, [str(folder.path), "--begin"]) == Exit.CANNOT_WRITE
    told = capsys.readouterr().err
    assert re.search(r"made.zarr: needs about \d+ kB in 16 files, but only [\d.]+ kB in", told)
    assert run(STAGE, [str(folder.path), "--part", "0"]) == Exit.CANNOT_WRITE
    assert "No space left on device" in capsys.readouterr().err
    assert list((task.store / "train").iterdir()) == []
