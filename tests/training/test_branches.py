"""A branch of a trunk is the training it would have been alone, bit for bit, whoever is killed."""

import json
import random
import shutil
import signal
from dataclasses import dataclass

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import MODEL, write_store
from ranks import Ranks, result, run, steps, training

from pipeline.campaign import PretrainTask, Trunk, branching, declare
from pipeline.data.errors import BadInput
from pipeline.outcome import Exit, RunError
from pipeline.run import TaskFolder
from pipeline.training.engine import checkpoint
from pipeline.training.programs.pretrain import source

HELD, SIZES, DECAY = 260, (80, 160, 240), 0.25
POINTS = (60, 120, 180)
LONGEST = training(
    events_seen=240,
    schedule="trapezoid",
    decay_fraction=DECAY,
    decay_shape="1-sqrt",
    final_learning_rate=1e-5,
    ema_events=30,
    keep_checkpoints=2,
)


@pytest.fixture(scope="module")
def long_store(tmp_path_factory):
    """A store of more events than are passed."""
    return write_store(tmp_path_factory.mktemp("store") / "made.zarr", shards=(120, HELD - 120))


def declared(folder, store, asked, **changes):
    """The folder of a declared pretraining that passes its events once."""
    task = PretrainTask(
        key="pretrain/made",
        seed=5,
        model=MODEL.model_copy(update={"dropout": 0.1}),
        store=store,
        split="train",
        events=asked.events_seen,
        one_pass=True,
        training=asked,
        **changes,
    )
    declare(TaskFolder(folder), task)
    return TaskFolder(folder)


def branched(folder, store, trunk, events):
    """The folder of a declared branch."""
    asked = branching.trapezoid(LONGEST, events)
    point = Trunk(folder=trunk.path, events_seen=branching.branch_point(asked))
    return declared(folder, store, asked, trunk=point)


def ended(folder, number, step):
    """The exit code of a link that gets the signal `number` after `step` steps."""
    link = Ranks(folder)
    link.wait_for_step(step)
    link.send(number)
    return link.end()


@dataclass(frozen=True)
class Grown:
    """A trunk and its branches, and a training of the middle size that is by itself."""

    trunk: TaskFolder
    branches: dict[int, TaskFolder]
    alone: TaskFolder
    codes: dict[str, int]


@pytest.fixture(scope="module")
def grown(long_store, tmp_path_factory):
    """The trunk is killed and stopped on its way, the middle branch killed in its decay."""
    root, codes = tmp_path_factory.mktemp("grown"), {}
    trunk = declared(root / "trunk", long_store, branching.trunk(LONGEST), branch_points=POINTS)
    codes["killed"] = ended(trunk, signal.SIGKILL, random.randint(7, 10))
    codes["stopped"] = ended(trunk, signal.SIGTERM, random.randint(22, 26))
    codes["trunk"] = run(trunk)
    branches = {size: branched(root / f"d{size}", long_store, trunk, size) for size in SIZES}
    codes["decay"] = ended(branches[160], signal.SIGKILL, 5)
    for size, folder in branches.items():
        codes[f"d{size}"] = run(folder)
    alone = declared(root / "alone", long_store, branching.trapezoid(LONGEST, 160))
    codes["alone"] = run(alone)
    return Grown(trunk, branches, alone, codes)


@pytest.mark.slow
def test_all_end_as_they_should(grown):
    killed, finished = -signal.SIGKILL, Exit.FINISHED
    assert grown.codes == {
        "killed": killed,
        "stopped": Exit.CONTINUE,
        "trunk": finished,
        "decay": killed,
        "d80": finished,
        "d160": finished,
        "d240": finished,
        "alone": finished,
    }


@pytest.mark.slow
def test_a_branch_is_the_trapezoid_that_nothing_interrupted(grown):
    branch, alone = result(grown.branches[160]), result(grown.alone)
    assert branch["weights_sha256"] == alone["weights_sha256"]
    assert branch["loss"] == alone["loss"]
    assert branch["weights_are"] == "ema"


@pytest.mark.slow
def test_a_branch_begins_exactly_at_its_point_and_ends_at_its_size(grown):
    for size, point in zip(SIZES, POINTS, strict=True):
        folder = grown.branches[size]
        assert steps(folder) == list(range(point // 4 + 1, size // 4 + 1))
        assert result(folder)["events_seen"] == result(folder)["events"] == size


@pytest.mark.slow
def test_the_losses_of_trunk_and_branch_are_those_of_the_trapezoid(grown):
    lines = [*told(grown.trunk)[: 120 // 4], *told(grown.branches[160])]
    names = ("events_seen", "loss", "lr")
    assert [[line[name] for name in names] for line in lines] == [
        [line[name] for name in names] for line in told(grown.alone)
    ]


def told(folder):
    """The lines of `metrics.jsonl`."""
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


@pytest.mark.slow
def test_the_trunk_keeps_its_branch_points_beside_the_newest(grown):
    kept = sorted(path.name for path in grown.trunk.checkpoints.iterdir())
    assert kept == [f"step-{events:012d}" for events in (60, 120, 160, 180)]
    assert result(grown.trunk)["events_seen"] == POINTS[-1]


@pytest.mark.slow
def test_without_the_checkpoint_it_begins_at_a_branch_does_not_start_afresh(
    grown, long_store, tmp_path
):
    trunk = TaskFolder(tmp_path / "trunk")
    shutil.copytree(grown.trunk.path, trunk.path)
    shutil.rmtree(checkpoint.folder(trunk.checkpoints, 60))
    folder = branched(tmp_path / "d80", long_store, trunk, 80)
    assert run(folder, size=1) == Exit.BUSY
    assert "the checkpoint to start from is not complete" in result(folder)["message"]
    assert not steps(folder)


def test_a_damaged_checkpoint_to_begin_from_is_refused(tmp_path):
    message = rf"step-000000000060: the checkpoint to start from.*move {tmp_path} away, keep it"
    with pytest.raises(RunError, match=message):
        checkpoint.exactly(tmp_path / "checkpoints", 60)


def test_one_pass_is_over_the_whole_split_and_never_more(long_store):
    task = PretrainTask(
        key="pretrain/made",
        seed=5,
        model=MODEL,
        store=long_store,
        split="train",
        events=240,
        one_pass=True,
        training=LONGEST,
    )
    assert source(task).count == HELD
    assert source(task.model_copy(update={"one_pass": False})).count == 240
    with pytest.raises(BadInput, match=f"{HELD + 1} events requested of split 'train', which has"):
        source(task.model_copy(update={"events": HELD + 1}))
