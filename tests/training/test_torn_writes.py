"""A checkpoint that is killed while it is written never costs more than itself."""

import random
import shutil
import time

import pytest

pytest.importorskip("deepspeed")

from ranks import Ranks, pretraining, result, run, steps

from pipeline.outcome import Exit
from pipeline.training.engine import checkpoint

MOMENTS = 50
BATCH_EVENTS = 4
SAVE_SECONDS = 0.05
EVENTS_SEEN = 4 * BATCH_EVENTS + 2 * BATCH_EVENTS * MOMENTS  # more than the kills let pass


def kill_in_a_save(link, after_seconds):
    """Kill the only rank so long after it began to write a checkpoint; at the latest in the next.

    However fast the machine is, one start then brings the training on by about one checkpoint.
    """
    (rank,) = link.processes
    deadline = time.monotonic() + 60
    while not (begun := saves_begun(link)):
        assert rank.poll() is None, link.log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    kill_at = time.monotonic() + after_seconds
    while time.monotonic() < kill_at and saves_begun(link) <= begun:
        time.sleep(0.0005)
    rank.kill()
    rank.wait(60)


def saves_begun(link):
    """Return the names of the checkpoints that are being written."""
    return {path.name for path in link.folder.checkpoints.glob("step-*.tmp")}


@pytest.fixture(scope="module")
def torn(store, tmp_path_factory):
    """A training that saves after each step, and is killed in a save 50 times."""
    dice = random.Random(11)
    folder = pretraining(
        tmp_path_factory.mktemp("torn"),
        store,
        events_seen=EVENTS_SEEN,
        checkpoint_events=BATCH_EVENTS,
    )
    link = Ranks(folder, size=1)
    link.wait_for_step(2)
    link.processes[0].kill()
    link.processes[0].wait(60)
    seen = []
    for _ in range(MOMENTS):
        # What an earlier kill left is no sign of a save that begins now.
        for left in folder.checkpoints.glob("step-*.tmp"):
            shutil.rmtree(left)
        before = checkpoint.newest(folder.checkpoints)
        kill_in_a_save(Ranks(folder, size=1), dice.uniform(0, SAVE_SECONDS))
        resumed_at = BATCH_EVENTS * (min(set(steps(folder)) - set(range(before[1] // 4 + 1))) - 1)
        left = list(folder.checkpoints.glob("step-*.tmp"))
        seen.append((before, resumed_at, checkpoint.newest(folder.checkpoints), left))
    return folder, seen


@pytest.mark.slow
def test_every_start_goes_on_from_the_newest_that_was_whole(torn):
    _, seen = torn
    for before, resumed_at, after, _ in seen:
        assert resumed_at == before[1] > 0
        assert after[1] >= before[1]


@pytest.mark.slow
def test_kills_came_before_and_after_the_checkpoint_was_whole(torn):
    _, seen = torn
    unfinished = sum(bool(left) for *_, left in seen)
    assert 5 <= unfinished <= MOMENTS - 5


@pytest.mark.slow
def test_the_weights_at_the_end_are_those_of_a_training_never_killed(torn, store, tmp_path):
    folder, _ = torn
    assert run(folder, size=1) == Exit.FINISHED
    undisturbed = pretraining(
        tmp_path / "undisturbed", store, events_seen=EVENTS_SEEN, checkpoint_events=BATCH_EVENTS
    )
    assert run(undisturbed, size=1) == Exit.FINISHED
    assert result(folder)["weights_sha256"] == result(undisturbed)["weights_sha256"]


@pytest.mark.slow
def test_a_flipped_byte_in_any_file_is_found_and_named_and_the_one_before_taken(
    undisturbed, tmp_path, capsys
):
    copy = tmp_path / "checkpoints"
    shutil.copytree(undisturbed.checkpoints, copy)
    before, newest = sorted(copy.iterdir())
    dice = random.Random(3)
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert len(files) > 4
    for path in files:
        content = path.read_bytes()
        place = dice.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        found = checkpoint.newest(copy)
        assert found is not None
        assert found[0] == before
        assert f"{path}: " in capsys.readouterr().err
        path.write_bytes(content)
    assert checkpoint.newest(copy)[0] == newest
