"""A training that was made longer has the weights of one that was planned so, bit for bit."""

import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import Ranks, pretraining, result, steps, training
from ranks import run as run_link

from pipeline.campaign import PretrainTask, stored
from pipeline.outcome import Exit
from pipeline.planning import changes
from pipeline.run import Run, TaskFolder

KEY = "pretrain/made"
SHORT, LONG = 80, 160
TRAPEZOID = {"schedule": "trapezoid", "decay_events": 40, "decay_shape": "1-sqrt"}


def lengthened(run: Run, **keys: Any) -> Path | None:
    """Declare the training of `run` with other keys, as a run of its campaign does."""
    folder = run.task(KEY)
    before = stored.read(folder, PretrainTask)
    task = before.model_copy(update={"training": training(**keys)})
    found = changes.compare([task], run)
    assert found[KEY].goes_on_changed, found[KEY]
    return changes.apply(found, [task], run)


def planned(path: Path, store: Path, **keys: Any) -> TaskFolder:
    """A finished training that was planned so from the start."""
    folder = pretraining(path, store, **keys)
    assert run_link(folder) == Exit.FINISHED, (path / "log.txt").read_text()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "then"),
    [
        ({"schedule": "constant", "ema_events": 30}, {"events_seen": 140}),
        (TRAPEZOID, {"events_seen": LONG, "decay_events": 20}),
    ],
)
def test_a_training_of_another_length_is_that_which_was_planned_so(
    tmp_path: Path, store: Path, schedule: dict[str, Any], then: dict[str, Any]
) -> None:
    run = Run(tmp_path, "c")
    folder = planned(run.task(KEY).path, store, events_seen=SHORT, **schedule)
    short = result(folder)
    aside = lengthened(run, events_seen=LONG, **schedule)
    assert aside is not None
    assert (aside / KEY / "result.json").is_file()
    link = Ranks(folder)
    link.wait_for_step(steps(folder)[-1] + 5)
    link.send(signal.SIGKILL)
    link.end()
    assert run_link(folder) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    same(folder, planned(tmp_path / "alone", store, events_seen=LONG, **schedule))
    assert result(folder)["weights_sha256"] != short["weights_sha256"]
    other = {**schedule, **then}  # a shorter one, or another decay
    lengthened(run, **other)
    assert run_link(folder) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    same(folder, planned(tmp_path / "then", store, **other))


def same(one: TaskFolder, other: TaskFolder) -> None:
    """Check that two trainings have made the same weights by the same steps."""
    assert result(one)["weights_sha256"] == result(other)["weights_sha256"]
    assert result(one)["loss"] == result(other)["loss"]
    assert steps(one) == steps(other)
