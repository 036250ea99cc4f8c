"""What happens to one of two ranks ends the link by its class, and `result.json` says it."""

import json
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

import misfortunes
from ranks import DEADLINE_SECONDS, Ranks, pretraining, result, steps, training

from pipeline.campaign import PretrainTask, declare
from pipeline.families.custom.spec import Custom
from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.training.engine import checkpoint

pytestmark = pytest.mark.slow

HANG_SECONDS = 8
STEP = 7  # not a multiple of the 5 steps between checkpoints


def unlucky(path, store, misfortune):
    """The folder of a training whose rank 1 meets `misfortune` at step `STEP`."""
    model = Custom(
        code=Path(misfortunes.__file__),
        settings={"step": STEP},
        columns=("energy", "eta", "phi", "r"),
        objectives={misfortune: 1.0},
    )
    task = PretrainTask(
        key="pretrain/unlucky",
        seed=5,
        model=model,
        store=store,
        split="train",
        events=24,
        training=training(hang_seconds=HANG_SECONDS),
    )
    declare(TaskFolder(path), task)
    return TaskFolder(path)


@pytest.fixture(scope="module", autouse=True)
def sleeper(store, tmp_path_factory):
    """A link whose second rank sleeps for ever, while the other tests go on."""
    link = Ranks(unlucky(tmp_path_factory.mktemp("hung"), store, "sleeps"))
    link.wait_for_step(STEP - 1)
    return link


@pytest.fixture(scope="module")
def hung(sleeper):
    """The folder of that link, its exit code, and the seconds from its last step to its record."""
    code, folder = sleeper.end(), sleeper.folder
    return folder, code, folder.result.stat().st_mtime - folder.metrics.stat().st_mtime


def test_a_rank_that_sleeps_for_ever_is_found_in_time(hung):
    folder, code, seconds = hung
    assert code == Exit.HANG
    assert HANG_SECONDS <= seconds < HANG_SECONDS + 6
    assert result(folder)["outcome"] == "hang"
    assert steps(folder)[-1] == STEP - 1


def test_a_hang_s_message_names_ranks_step_and_lines(hung):
    folder, _, _ = hung
    message = result(folder)["message"]
    assert f"No step for {HANG_SECONDS} s: rank 0 in " in message
    assert f"rank 1 in sleeps ({misfortunes.__file__}:" in message
    assert f"after step {STEP - 1}" in message
    assert f"{folder.logs}/stacks-rank-*.txt" in message


def test_the_stacks_show_the_line_that_sleeps(hung):
    folder, _, _ = hung
    source = Path(misfortunes.__file__).read_text().splitlines()
    line = 1 + next(n for n, text in enumerate(source) if "the stacks must show" in text)
    assert f'misfortunes.py", line {line} in sleeps' in folder.stacks(1).read_text()
    assert "distributed" in folder.stacks(0).read_text()


def test_the_heartbeat_stopped_with_the_training(hung):
    folder, _, _ = hung
    beat = json.loads(folder.heartbeat.read_text())
    assert beat["step"] < STEP
    assert folder.result.stat().st_mtime - beat["time"] > HANG_SECONDS


def test_a_loss_that_is_no_number_in_one_rank_ends_it_as_diverged(store, tmp_path):
    link = Ranks(unlucky(tmp_path, store, "no_number"))
    assert link.end() == Exit.DIVERGED
    told = result(link.folder)
    assert told["outcome"] == "diverged"
    assert f"The loss is nan after {4 * (STEP - 1)} events" in told["message"]
    assert "Lower the rate or clip_norm; this is not retried." in told["message"]


def test_a_gradient_that_is_no_number_ends_it_before_a_checkpoint_holds_its_weights(
    store, tmp_path
):
    link = Ranks(unlucky(tmp_path, store, "no_gradient"))
    assert link.end() == Exit.DIVERGED
    told = result(link.folder)
    assert told["outcome"] == "diverged"
    assert f"The gradient norm is inf after {4 * (STEP - 1)} events" in told["message"]


def test_memory_that_is_exhausted_names_model_and_batch(store, tmp_path):
    link = Ranks(unlucky(tmp_path, store, "eats"))
    assert link.end() == Exit.OUT_OF_MEMORY
    told = result(link.folder)
    assert told["outcome"] == "out_of_memory"
    assert "can't allocate memory" in told["message"]
    assert "Model custom" in told["message"]
    assert "batch_events 4 over 2 process(es), 2 events at once in each" in told["message"]
    assert "Lower micro_events" in told["message"]


@pytest.fixture(scope="module")
def asked(store, tmp_path_factory):
    """A training that a file asked to save, how it ended; and how after one rank was killed."""
    link = Ranks(pretraining(tmp_path_factory.mktemp("asked"), store))
    link.wait_for_step(3)
    link.folder.save_request.touch()
    code, step = link.end(), steps(link.folder)[-1]
    sealed = checkpoint.newest(link.folder.checkpoints)
    assert not link.folder.save_request.exists(), "the next link would end at once"
    link = Ranks(link.folder)
    link.wait_for_step(step + 1)
    link.processes[1].kill()
    return link, code, step, sealed


def test_a_file_asks_it_to_save_and_end(asked):
    _, code, step, sealed = asked
    assert code == Exit.CONTINUE
    assert sealed[1] == 4 * step


def test_a_rank_that_is_killed_ends_the_others_soon(asked):
    link, _, _, _ = asked
    began = time.monotonic()
    codes = [process.wait(DEADLINE_SECONDS) for process in link.processes]
    assert time.monotonic() - began < 10
    assert codes == [Exit.PEER_LOST, -signal.SIGKILL]
    told = result(link.folder)
    assert told["outcome"] == "peer_lost"
    assert "Another process of this link ended without a record" in told["message"]
