"""kill -9 of the controller at every stage: the same command finishes, nothing is done twice."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from whole_campaign import TINY, command, fingerprint, of_modes, run_campaign, with_modes

from pipeline.outcome import Exit

pytestmark = pytest.mark.slow

Condition = Callable[[Path], bool]

MODES = ("frozen", "scratch")  # one that waits for the pretraining, and one that does not

# At each of these moments the controller is killed, in this order, in one run.
MOMENTS: dict[str, Condition] = {
    "simulate": lambda run: any(run.glob("simulate/*/logs/part-*.log")),
    "stage": lambda run: any(run.glob("stage/*/logs/*.log")),
    "pretrain": lambda run: any(map(_has_lines, run.glob("pretrain/*/metrics.jsonl"))),
    "finetune": lambda run: any(map(_has_lines, run.glob("finetune/*/metrics.jsonl"))),
    "evaluate": lambda run: any(run.glob("evaluate/*/logs/*.log")),
}


def _has_lines(metrics: Path) -> bool:
    return metrics.read_text().count("\n") >= 1


def _kill_at(root: Path, campaign: Path, moment: Condition) -> None:
    """Start the controller, and kill it as soon as `moment` has come."""
    with subprocess.Popen(
        command(root, campaign=campaign),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as controller:
        deadline = time.monotonic() + 180
        while not moment(root / "tiny"):
            assert controller.poll() is None, controller.stderr.read().decode()
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.02)
        os.kill(controller.pid, signal.SIGKILL)


def _finished(run: Path) -> dict[str, int]:
    """Return the products that are whole, with the times they were written."""
    patterns = ("*/*/DONE", "*/*/parts/*.json", "data/*.zarr/*/*/zarr.json")
    return {
        str(path): path.stat().st_mtime_ns for pattern in patterns for path in run.glob(pattern)
    }


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a run whose controller was killed at every moment, and then let finish."""
    root = tmp_path_factory.mktemp("killed")
    campaign = with_modes(root, *MODES)
    finished: dict[str, int] = {}
    for moment in MOMENTS.values():
        _kill_at(root, campaign, moment)
        now = _finished(root / "tiny")
        assert finished.items() <= now.items(), "something whole was written again"
        finished = now
    ended = run_campaign(root, campaign=campaign)
    assert ended.returncode == 0, ended.stderr
    assert finished.items() <= _finished(root / "tiny").items(), "something was written again"
    return root


def test_results_equal_an_uninterrupted_run_bit_for_bit(
    survivor: Path, uninterrupted: Path
) -> None:
    assert fingerprint(survivor) == of_modes(fingerprint(uninterrupted), *MODES)


def test_no_training_step_is_recorded_twice(survivor: Path) -> None:
    for metrics in survivor.glob("tiny/*/*/metrics.jsonl"):
        steps = Counter(json.loads(line)["step"] for line in metrics.read_text().splitlines())
        assert set(steps.values()) == {1}, metrics
        assert sorted(steps) == list(range(1, len(steps) + 1)), metrics


def test_every_training_was_submitted_once(survivor: Path) -> None:
    records = [json.loads(path.read_text()) for path in survivor.glob("tiny/ledger/*.json")]
    submitted = Counter(
        r["task"] for r in records if r["kind"] == "submit" and r["stage"] != "pilot"
    )
    assert submitted
    assert set(submitted.values()) == {1}


def test_nothing_of_a_dead_controller_is_left(survivor: Path) -> None:
    needle = str(survivor)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:  # the process has ended since
            continue
        assert needle not in words


def test_running_again_does_nothing_and_says_so(survivor: Path) -> None:
    began = time.monotonic()
    ended = run_campaign(survivor, campaign=survivor / TINY.name)
    assert ended.returncode == 0
    assert "Nothing to do: all 9 tasks are done." in ended.stderr
    assert time.monotonic() - began < 10


def test_a_dead_interchange_is_noticed(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as controller:
        note = tmp_path / "tiny/parsl/interchange.json"
        while not note.exists() or not MOMENTS["simulate"](tmp_path / "tiny"):
            assert controller.poll() is None
            time.sleep(0.05)
        (helper,) = json.loads(note.read_text())["helpers"]
        os.kill(helper["pid"], signal.SIGKILL)
        _, told = controller.communicate(timeout=120)
    assert controller.returncode == Exit.BUSY
    assert "interchange" in told
    assert "the same command again to resume" in " ".join(told.split())
