"""Whatever ends a link, the next one goes on: the weights are those of a run never disturbed."""

import random
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from ranks import Ranks, pretraining, result, run, steps

from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.training.engine import checkpoint

STEPS, BATCH_EVENTS, INTERVAL_EVENTS = 400, 4, 20
STOPS = 20
ASKED, KILLED = ("SIGTERM", "SIGUSR1", "SAVE"), "kill -9 of one rank"


@dataclass
class Survivor:
    """A training whose links were all ended in different ways, and what was seen after each."""

    folder: TaskFolder
    ends: list[tuple[str, set[int], int, int]] = field(default_factory=list)
    before_the_end: Path = Path()
    code: int | None = None

    def ended_by(self, *ways: str) -> list[tuple[set[int], int, int]]:
        """The exit codes, events saved and steps recorded after each link so ended."""
        return [(codes, saved, last) for way, codes, saved, last in self.ends if way in ways]


def disturb(link: Ranks, way: str, rank: int) -> set[int]:
    """End a link in one way; return the exit codes of its ranks."""
    if way == KILLED:
        link.processes[rank].kill()
    elif way == "SAVE":
        link.folder.save_request.touch()
    else:
        link.send(signal.Signals[way])
    return {process.wait(60) for process in link.processes}


@pytest.fixture(scope="module")
def survivor(store, tmp_path_factory):
    """A training stopped at 20 random steps, five times in each way, then let finish."""
    dice = random.Random(7)
    ways = [*ASKED, KILLED] * (STOPS // 4)
    dice.shuffle(ways)
    folder = pretraining(
        tmp_path_factory.mktemp("survivor"), store, events_seen=STEPS * BATCH_EVENTS
    )
    seen = Survivor(folder)
    for way in ways:
        link = Ranks(folder)
        before = steps(folder)[-1] if steps(folder) else 0
        assert before < STEPS - 10, "it ran too far in earlier links for another"
        link.wait_for_step(before + dice.randint(1, 4))
        codes = disturb(link, way, dice.randint(0, 1))
        saved = checkpoint.newest(folder.checkpoints)
        seen.ends.append((way, codes, saved[1] if saved else 0, steps(folder)[-1]))
    with folder.metrics.open("a") as stream:
        stream.write('{"step": 9')  # the last line torn
    newest, _ = checkpoint.newest(folder.checkpoints)
    damaged = next(newest.rglob("*model_states.pt"))
    damaged.write_bytes(b"torn")
    seen.before_the_end = folder.path.with_name("copy")  # paths in its task are from there
    shutil.copytree(folder.path, seen.before_the_end)
    seen.code = run(folder)
    assert (
        f"{damaged}: missing or changed since it was written"
        in (folder.path / "log.txt").read_text()
    )
    return seen


@pytest.fixture(scope="module")
def never_stopped(store, tmp_path_factory):
    """The same training in one link."""
    folder = pretraining(
        tmp_path_factory.mktemp("never-stopped"), store, events_seen=STEPS * BATCH_EVENTS
    )
    assert run(folder) == Exit.FINISHED
    return folder


@pytest.mark.slow
def test_asked_to_stop_it_saves_the_step_it_is_at_and_asks_to_be_continued(survivor):
    ends = survivor.ended_by(*ASKED)
    assert len(ends) == 15
    for codes, saved, last in ends:
        assert codes == {Exit.CONTINUE}
        assert saved == BATCH_EVENTS * last


@pytest.mark.slow
def test_killed_it_loses_at_most_the_steps_since_the_last_checkpoint(survivor):
    ends = survivor.ended_by(KILLED)
    assert len(ends) == 5
    for codes, saved, last in ends:
        assert -signal.SIGKILL in codes
        assert codes != {-signal.SIGKILL}, "the other rank ends by itself"
        # It may be killed after a step was recorded and before it was saved.
        assert 0 <= BATCH_EVENTS * last - saved <= INTERVAL_EVENTS


@pytest.mark.slow
def test_its_weights_are_those_of_a_training_that_nothing_disturbed(survivor, never_stopped):
    assert survivor.code == Exit.FINISHED
    assert survivor.folder.is_done
    told, expected = result(survivor.folder), result(never_stopped)
    assert told["weights_sha256"] == expected["weights_sha256"]
    assert told["loss"] == expected["loss"]


@pytest.mark.slow
def test_no_step_is_recorded_twice_and_none_is_missing(survivor, never_stopped):
    assert steps(never_stopped) == list(range(1, STEPS + 1))
    assert steps(survivor.folder) == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_as_many_checkpoints_are_kept_as_asked(survivor):
    kept = [path.name for path in sorted(survivor.folder.checkpoints.iterdir())]
    assert kept == ["step-000000001580", "step-000000001600"]


@pytest.mark.slow
def test_when_no_checkpoint_verifies_training_does_not_start_afresh(survivor):
    folder = TaskFolder(survivor.before_the_end)
    for sealed in folder.checkpoints.iterdir():
        (sealed / checkpoint.MANIFEST).unlink(missing_ok=True)
    link = Ranks(folder)
    first, second = (process.wait(100) for process in link.processes)
    assert first == Exit.BUSY
    assert second == Exit.BUSY, "it loses its connection to the first, and says what the first says"
    assert result(folder)["outcome"] == "unusable"
    assert "no checkpoint verifies" in result(folder)["message"]
    assert not folder.is_done
