"""Whatever ends a link, the next one goes on: the weights are those of a run never disturbed."""

import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from ranks import Ranks, pretraining, result, run, steps

from pipeline.run import Exit, TaskFolder
from pipeline.training import checkpoint

STEPS, BATCH_EVENTS = 60, 4


@dataclass(frozen=True)
class Survivor:
    """A training whose links were all ended in different ways, and what was seen after each."""

    folder: TaskFolder
    codes: dict[str, int]
    saved: dict[str, int]
    recorded: dict[str, int]
    before_the_end: Path


@pytest.fixture(scope="module")
def survivor(store, tmp_path_factory):
    """Links ended by TERM, USR1 and kill -9, the newest checkpoint damaged; then let finish."""
    folder = pretraining(tmp_path_factory.mktemp("survivor"), store)
    codes, saved, recorded = {}, {}, {}
    for turn, number in enumerate((signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL)):
        link = Ranks(folder)
        link.wait_for_step(16 * turn + random.randint(6, 10))
        link.send(number)
        codes[number.name] = link.end()
        saved[number.name] = checkpoint.newest(folder.checkpoints)[1]
        recorded[number.name] = steps(folder)[-1]
    with folder.metrics.open("a") as stream:
        stream.write('{"step": 9')  # the last line torn
    newest, _ = checkpoint.newest(folder.checkpoints)
    next(newest.rglob("*model_states.pt")).write_bytes(b"torn")
    before_the_end = tmp_path_factory.mktemp("copies") / "copy"
    shutil.copytree(folder.path, before_the_end)
    codes["end"] = run(folder)
    return Survivor(folder, codes, saved, recorded, before_the_end)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_asked_to_stop_it_saves_the_step_it_is_at_and_asks_to_be_continued(survivor, name):
    assert survivor.codes[name] == Exit.CONTINUE
    assert survivor.saved[name] == BATCH_EVENTS * survivor.recorded[name]
    assert survivor.recorded[name] < STEPS


@pytest.mark.slow
def test_killed_it_leaves_checkpoints_to_go_on_from(survivor):
    assert survivor.codes["SIGKILL"] == -signal.SIGKILL
    assert survivor.saved["SIGUSR1"] <= survivor.saved["SIGKILL"] < BATCH_EVENTS * STEPS


@pytest.mark.slow
def test_its_weights_are_those_of_a_training_that_nothing_disturbed(survivor, undisturbed):
    assert survivor.codes["end"] == Exit.FINISHED
    assert survivor.folder.is_done
    told, expected = result(survivor.folder), result(undisturbed)
    assert told["weights_sha256"] == expected["weights_sha256"]
    assert told["loss"] == expected["loss"]


@pytest.mark.slow
def test_no_step_is_recorded_twice_and_none_is_missing(survivor, undisturbed):
    assert steps(undisturbed) == list(range(1, STEPS + 1))
    assert steps(survivor.folder) == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_as_many_checkpoints_are_kept_as_asked(survivor):
    kept = [path.name for path in sorted(survivor.folder.checkpoints.iterdir())]
    assert kept == ["step-000000000220", "step-000000000240"]


@pytest.mark.slow
def test_when_no_checkpoint_verifies_training_does_not_start_afresh(survivor):
    folder = TaskFolder(survivor.before_the_end)
    for sealed in folder.checkpoints.iterdir():
        (sealed / checkpoint.MANIFEST).unlink(missing_ok=True)
    link = Ranks(folder)
    first, second = (process.wait(100) for process in link.processes)
    assert first == Exit.BUSY
    assert second == Exit.BUSY, "it loses its connection to the first, and says what the first says"
    assert result(folder)["outcome"] == "damaged"
    assert "no checkpoint verifies" in result(folder)["message"]
    assert not folder.is_done
