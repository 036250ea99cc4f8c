"""Validation: the same loss at any world size, weights untouched, the best checkpoint kept."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

import dropping
import misfortunes
from made_batches import write_store
from ranks import finetuning, pretraining, result, run

from pipeline.campaign import PretrainTask, Validation, declare, stored
from pipeline.families.custom.spec import Custom
from pipeline.outcome import Exit
from pipeline.training.engine import checkpoint
from pipeline.training.engine.engine import weights_hash

HELD_BACK = Validation(split="val", events=11)
# At this rate the loss falls, and rises at the end.
CHANGES = {"events_seen": 120, "warmup_events": 0, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A store of 24 events in split train and 12 in val."""
    return write_store(
        tmp_path_factory.mktemp("both") / "made.zarr", shards=(10, 14, 12), held_back=1
    )


@pytest.fixture(scope="module")
def validated(both, tmp_path_factory):
    """A training by number of ranks, and one on two ranks without a validation."""
    path = tmp_path_factory.mktemp("validated")
    folders = {
        size: pretraining(path / f"{size}", both, validation=HELD_BACK, **CHANGES)
        for size in (1, 2)
    }
    folders[0] = pretraining(path / "without", both, **CHANGES)
    for size, folder in folders.items():
        assert run(folder, size=size or 2) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folders


def losses(folder):
    """The validation losses that the metrics tell, by events seen."""
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    name = checkpoint.VALIDATION_LOSS
    return {line["events_seen"]: line[name] for line in lines if name in line}


@pytest.mark.slow
def test_each_checkpoint_is_validated(validated):
    assert list(losses(validated[2])) == [20, 40, 60, 80, 100, 120]
    assert losses(validated[0]) == {}


@pytest.mark.slow
def test_it_is_the_same_at_any_number_of_processes(validated):
    first, second = losses(validated[1]), losses(validated[2])
    # Dropout draws differ between world sizes from the first step on, so only that is compared.
    assert first[20] == pytest.approx(second[20], rel=0.05)


@pytest.mark.slow
def test_it_leaves_the_training_as_it_was(validated):
    told = [result(validated[size])["weights_sha256"] for size in (0, 2)]
    assert told[0] == told[1]


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_told(validated):
    folder = validated[2]
    found = losses(folder)
    best = min(found, key=found.__getitem__)
    told = result(folder)
    assert told["best_checkpoint"] == f"step-{best:012d}"
    assert told["best_validation_loss"] == found[best]
    kept = {path.name for path in folder.checkpoints.iterdir()}
    assert kept == {f"step-{seen:012d}" for seen in (best, 100, 120)}


def test_the_best_is_not_pruned(tmp_path):
    for seen, loss in ((20, 3.0), (40, 1.0), (60, 2.0), (80, 4.0), (100, 5.0)):
        written = checkpoint.temporary(tmp_path, seen)
        written.mkdir(parents=True)
        (written / "state.pt").write_text("weights")
        checkpoint.seal(written, seen, {checkpoint.VALIDATION_LOSS: loss})
        checkpoint.prune(tmp_path, keep=2)
    assert [int(path.name[5:]) for path in sorted(tmp_path.iterdir())] == [40, 80, 100]
    assert checkpoint.best(tmp_path) == checkpoint.folder(tmp_path, 40)


@pytest.mark.slow
def test_validation_on_the_events_of_the_training_is_refused(both, tmp_path):
    asked = Validation(split="train", events=4)
    folder = finetuning(tmp_path, both, validation=asked)
    assert run(folder, "finetune", size=1) == Exit.BAD_INPUT
    assert "the training is on split 'train', and so is its validation" in str(result(folder))


@pytest.mark.slow
def test_fine_tuning_is_validated_too(both, tmp_path):
    folder = finetuning(tmp_path, both, validation=HELD_BACK, checkpoint_events=8)
    assert run(folder, "finetune", size=1) == Exit.FINISHED
    assert list(losses(folder)) == [8, 16]


@pytest.mark.slow
def test_the_best_weights_are_the_result_where_that_is_asked(both, tmp_path):
    """At a rate that goes up twenty times at the end, the last checkpoint is not the best."""
    points = ((0.0, 0.05), (0.6, 0.05), (0.6, 1.0), (1.0, 1.0))
    changes = {**CHANGES, "learning_rate": 1.0, "schedule": "points", "points": points}
    changes |= {"events_seen": 100}
    told = {}
    for weights in ("best", "last"):
        asked = HELD_BACK.model_copy(update={"weights": weights})
        folder = pretraining(tmp_path / weights, both, validation=asked, **changes)
        assert run(folder, size=1) == Exit.FINISHED
        told[weights] = result(folder)
    assert told["best"]["best_checkpoint"] == told["last"]["best_checkpoint"] != "step-000000000100"
    assert {name: each["weights_are"] for name, each in told.items()} == {
        "best": "best",
        "last": "last",
    }
    best = folder.checkpoints / told["last"]["best_checkpoint"]
    (state,) = best.rglob("mp_rank_00_model_states.pt")
    saved = torch.load(state, weights_only=False)["module"]
    assert told["best"]["weights_sha256"] == weights_hash(saved)
    assert told["last"]["weights_sha256"] != weights_hash(saved)


def blind(path, store, step, weights):
    """A pretraining whose validation losses are NaN up to a step."""
    folder = pretraining(path, store, validation=HELD_BACK, **CHANGES)
    task = stored.read(folder, PretrainTask)
    folder.declaration.unlink()
    changes = {
        "model": Custom(
            code=Path(misfortunes.__file__),
            function="blind",
            settings={"step": step},
            columns=("energy", "eta", "phi", "r"),
            objectives={"squares": 1.0},
        ),
        "validation": HELD_BACK.model_copy(update={"weights": weights}),
    }
    declare(folder, task.model_copy(update=changes))
    return folder


@pytest.mark.slow
def test_a_validation_loss_that_is_no_number_is_never_the_best(both, tmp_path):
    folder = blind(tmp_path, both, step=12, weights="best")  # checkpoints after 5, 10, 15 … steps
    assert run(folder, size=1) == Exit.FINISHED
    told = result(folder)
    assert list(losses(folder)) == [60, 80, 100, 120]
    assert told["best_validation_loss"] == min(losses(folder).values())
    log = (folder.path / "log.txt").read_text()
    assert "The validation loss is nan after 20 events: never the best." in log


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_training_whose_validation_losses_are_all_no_numbers_has_diverged(
    both, tmp_path, weights
):
    folder = blind(tmp_path, both, step=1000, weights=weights)
    assert run(folder, size=1) == Exit.DIVERGED
    told = result(folder)
    assert told["outcome"] == "diverged"
    assert "No validation loss was finite, on 11 events at each checkpoint" in told["message"]
    assert not (folder.path / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_validation_draws_the_same_at_each_checkpoint_and_on_any_processes(both, tmp_path):
    found = []
    for size in (1, 2):
        folder = pretraining(tmp_path / str(size), both, validation=HELD_BACK, **CHANGES)
        task = stored.read(folder, PretrainTask)
        folder.declaration.unlink()
        model = Custom(
            code=Path(dropping.__file__),
            function="build",
            settings={"folder": str(tmp_path)},
            columns=("energy", "eta", "phi", "r"),
            objectives={"noisy": 1.0},
        )
        declare(folder, task.model_copy(update={"model": model}))
        assert run(folder, size=size) == Exit.FINISHED, (folder.path / "log.txt").read_text()
        found += losses(folder).values()
        lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        assert len({line["loss"] for line in lines}) == len(lines), "each step draws anew"
    assert len(found) == 12
    assert found == pytest.approx([found[0]] * 12, rel=1e-6)
