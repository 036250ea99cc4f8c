"""What killed processes leave under hidden names: removed, and nothing else."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scheduler_fakes import tiny_plan

from pipeline import leftovers
from pipeline.leftovers import DEAD_SECONDS, OLD_SECONDS, hidden

HOST = socket.gethostname()


def aged(path: Path, seconds: float) -> Path:
    """Let `path` look as if it had last been written so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that lives no more."""
    return int(subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"]))


def test_what_a_process_killed_in_the_middle_of_a_write_left_is_removed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nimport pipeline.writing as writing\n"
        "writing.sync_folder = lambda folder: None\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writing.write_text(Path(sys.argv[1]), 'half')\n"
    )
    path = tmp_path / "tokenizer.json"
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    (left,) = tmp_path.iterdir()
    assert leftovers.remove([tmp_path]) == 0, "it may be younger than what tells of its death"
    aged(left, DEAD_SECONDS + 1)
    assert leftovers.remove([tmp_path, tmp_path / "not there"]) == 1
    assert not list(tmp_path.iterdir())


def test_a_living_process_keeps_what_it_writes(tmp_path: Path) -> None:
    writes = aged(hidden(tmp_path / "weights.safetensors"), OLD_SECONDS - 10)
    assert leftovers.remove([tmp_path]) == 0
    assert writes.exists()


@pytest.mark.parametrize(
    "name", [".a.json.elsewhere.{}.tmp", ".a.json.{}.tmp", ".out.0a1b2c3d.tmp"]
)
def test_what_may_live_on_another_host_stays_for_a_day(
    tmp_path: Path, dead: int, name: str
) -> None:
    path = tmp_path / name.format(dead)
    aged(path, OLD_SECONDS - 10)
    assert leftovers.remove([tmp_path]) == 0
    aged(path, OLD_SECONDS + 10)
    assert leftovers.remove([tmp_path]) == 1


def test_a_folder_is_removed_with_its_content_and_a_link_without_what_it_leads_to(
    tmp_path: Path, dead: int
) -> None:
    shard = tmp_path / f".00003-ab.{HOST}.{dead}.tmp"
    (shard / "points").mkdir(parents=True)
    aged(shard, DEAD_SECONDS + 1)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept").touch()
    link = tmp_path / f".link.{HOST}.{dead}.tmp"
    link.symlink_to(mine)
    os.utime(link, (0, 0), follow_symlinks=False)
    assert leftovers.remove([tmp_path]) == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "kept"]


@pytest.mark.parametrize(
    "name",
    ["notes.tmp", ".notes.tmp", ".vimrc", "a.1.tmp", "step-000000000008.tmp", ".a.12.tmp.json"],
)
def test_no_other_file_is_touched(tmp_path: Path, name: str) -> None:
    aged(tmp_path / name, 10 * OLD_SECONDS)
    assert leftovers.remove([tmp_path]) == 0


def test_a_run_is_cleared_in_every_folder_that_is_written_to(tmp_path: Path, dead: int) -> None:
    pytest.importorskip("parsl")
    from pipeline.workflow.controller import folders

    plan = tiny_plan(tmp_path)
    run, tasks = plan.run, [step.task for step in plan.steps]
    run.store("ours").mkdir(parents=True)
    folder = run.task(tasks[0].key)
    places = (run.path, run.ledger, run.store("ours"), folder.path, folder.chain, run.local_jobs)
    for place in places:
        aged(place / f".any.json.{HOST}.{dead}.tmp", DEAD_SECONDS + 1)
    assert leftovers.remove(folders(run, tasks)) == len(places)
