"""A node that loses power costs a training no more than the steps since its newest checkpoints.

The trainings are real, and so is the loss: each link works on a disk that stops at a random moment.
A link is forked from a process that has torch and DeepSpeed, so 20 of them cost less than what
loops of saves alone would leave untested: what resumes, what it finds beside the checkpoints, and
the weights in the end.
"""

import random
import time

import pytest

pytest.importorskip("deepspeed")

from power_cut import disk
from ranks import Ranks, pretraining, result, run, steps

from pipeline.outcome import Exit, RunError
from pipeline.training.engine import checkpoint
from pipeline.training.engine.engine import weights_hash
from pipeline.training.weights import WEIGHTS, load

MOMENTS = 20
BATCH_EVENTS = 4
SAVE_SECONDS = 0.05
MOST_SAVES = 3  # of a link, before its power goes
EVENTS_SEEN = BATCH_EVENTS * (MOST_SAVES + 2) * MOMENTS  # more than the cuts let pass


def sealed(folder):
    """The events of the checkpoints that have their final name."""
    return sorted(int(path.name.split("-")[1]) for path in folder.checkpoints.glob("step-*[0-9]"))


def whole(folder):
    """The events of the checkpoints that verify, and the names of those that do not."""
    good, bad = [], []
    for path in sorted(folder.checkpoints.glob("step-*[0-9]")):
        try:
            good.append(checkpoint.verify(path))
        except RunError:
            bad.append(path.name)
    return good, bad


def cut_at_a_moment(link, power, dice):
    """Cut the power at some moment in or after a save of the link; return what was sealed then."""
    (rank,) = link.processes
    begun, saves = sealed(link.folder), dice.randint(1, MOST_SAVES)
    last = (begun[-1] if begun else 0) + saves * BATCH_EVENTS
    wait_until(lambda: sealed(link.folder)[-1:] >= [last], rank, link)
    cut_at = time.monotonic() + dice.uniform(0, SAVE_SECONDS)
    wait_until(lambda: time.monotonic() >= cut_at or sealed(link.folder)[-1] > last, rank, link)
    before = sealed(link.folder)
    power.cut()
    rank.kill()
    rank.wait(60)
    power.restart()
    return before


def wait_until(comes, rank, link):
    """Return when `comes` is true."""
    deadline = time.monotonic() + 60
    while not comes():
        assert rank.poll() is None, link.log.read_text()
        assert time.monotonic() < deadline, link.log.read_text()
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def cuts(store, tmp_path_factory):
    """A training that saves after each step, on a disk that loses power 20 times, then finishes.

    When it has finished the power goes once more.
    """
    dice = random.Random(21)
    with disk(tmp_path_factory.mktemp("power")) as power:
        folder = pretraining(
            power.folder / "task", store, events_seen=EVENTS_SEEN, checkpoint_events=BATCH_EVENTS
        )
        seen = []
        for _ in range(MOMENTS):
            before = cut_at_a_moment(Ranks(folder, size=1), power, dice)
            seen.append((before, *whole(folder)))
        code = run(folder, size=1)
        power.cut()
        power.restart()
        yield folder, seen, code


@pytest.mark.slow
def test_what_was_complete_before_the_power_went_is_whole_afterwards(cuts):
    _, seen, _ = cuts
    for before, good, bad in seen:
        assert good, f"no checkpoint verifies: {bad}"
        assert len(bad) <= 1
        assert good[-1] >= before[-2 if len(before) > 1 else -1]
    assert [good[-1] for _, good, _ in seen] == sorted({good[-1] for _, good, _ in seen})


@pytest.mark.slow
def test_the_weights_at_the_end_are_those_of_a_training_that_kept_its_power(cuts, store, tmp_path):
    folder, _, code = cuts
    assert code == Exit.FINISHED
    undisturbed = pretraining(
        tmp_path / "undisturbed", store, events_seen=EVENTS_SEEN, checkpoint_events=BATCH_EVENTS
    )
    assert run(undisturbed, size=1) == Exit.FINISHED
    assert result(folder)["weights_sha256"] == result(undisturbed)["weights_sha256"]
    assert steps(folder) == list(range(1, EVENTS_SEEN // BATCH_EVENTS + 1))


@pytest.mark.slow
def test_what_is_done_has_its_weights(cuts):
    folder, _, _ = cuts
    assert folder.is_done
    assert weights_hash(load(folder.path / WEIGHTS)) == result(folder)["weights_sha256"]
