"""What is told of each step: once, whichever links took it, and with rates that can be checked."""

import json
import tracemalloc

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import training

from pipeline.data.errors import BadInput
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.steps import writers
from pipeline.training.steps.divergence import recorded
from pipeline.training.steps.metrics import Metrics, Speed

BATCH = 4


def numbers(step, **changes):
    """What a step tells of itself."""
    told = {"loss": 1 / step, "points": 50, "seconds": 0.5, "data_seconds": 0.125, "lr": 1e-3}
    return told | changes


def metrics(folder, *, after=0, **changes):
    """The metrics of a training that goes on after so many steps."""
    return Metrics(folder, World(), training(**changes), seen=after * BATCH)


def take(told, steps):
    """Take these steps."""
    for step in steps:
        told.write(step, step * BATCH, numbers(step))


def lines(folder):
    """The whole lines on disk."""
    return [json.loads(line) for line in folder.metrics.read_text().split("\n")[:-1]]


def test_a_step_tells_its_rates_its_wait_and_its_memory(tmp_path):
    with metrics(TaskFolder(tmp_path)) as told:
        take(told, [1])
    (line,) = lines(TaskFolder(tmp_path))
    assert (line["step"], line["events_seen"], line["points"]) == (1, 4, 50)
    assert line["points_per_second"] == pytest.approx(50 / 0.5)
    assert line["events_per_second"] == pytest.approx(4 / 0.5)
    assert line["data_wait"] == pytest.approx(0.25)
    assert 0.01 < line["memory_gib"] < 1000
    assert "mfu" not in line


def test_the_share_of_the_peak_is_of_all_devices_in_the_precision_of_the_training(monkeypatch):
    monkeypatch.setenv("COSMOTRON_PEAK_TFLOPS_BF16", "2")
    world = World()
    world.size = 4
    speed = Speed.of(training(precision="bf16"), 1e9, world)
    assert speed.rates(numbers(1, points=4000))["mfu"] == pytest.approx(4000 * 1e9 / 0.5 / 8e12)
    assert "mfu" not in Speed.of(training(), 1e9, world).rates(numbers(1))
    assert "mfu" not in Speed.of(training(precision="bf16"), None, world).rates(numbers(1))


def test_a_resume_drops_what_its_checkpoint_had_not_seen_and_what_is_torn(tmp_path):
    folder = TaskFolder(tmp_path)
    with metrics(folder) as told:
        take(told, range(1, 8))
    with folder.metrics.open("a") as stream:
        stream.write('{"step": 8, "eve')
    with metrics(folder, after=5) as told:
        take(told, range(6, 9))
        assert told.last()["step"] == 8
    assert [line["step"] for line in lines(folder)] == list(range(1, 9))


def test_a_resume_drops_what_a_node_that_lost_its_power_left_behind_the_synced_lines(tmp_path):
    folder = TaskFolder(tmp_path)
    with metrics(folder) as told:
        take(told, range(1, 6))
    with folder.metrics.open("ab") as stream:
        stream.write(bytes(40) + b"\n" + b'{"step": 7, "events_seen": 28, "loss": 1}\n')
    assert [step for step, _ in recorded(folder.metrics, 5)] == [1, 2, 3, 4, 5]
    with metrics(folder, after=5) as told:
        take(told, range(6, 9))
    assert [line["step"] for line in lines(folder)] == list(range(1, 9))


def test_lines_wait_for_their_turn_but_not_beyond_a_checkpoint(tmp_path):
    folder = TaskFolder(tmp_path)
    with metrics(folder, metrics_steps=3) as told:
        take(told, [1, 2])
        assert lines(folder) == []
        take(told, [3, 4])
        assert [line["step"] for line in lines(folder)][:3] == [1, 2, 3]
        told.flush()
        assert [line["step"] for line in lines(folder)] == [1, 2, 3, 4]


def test_only_the_first_process_writes(tmp_path):
    other = metrics(TaskFolder(tmp_path))
    other.writes = False
    with other as told:
        take(told, [1])
        told.flush()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_shows_every_step_once_after_a_resume(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = TaskFolder(tmp_path)
    asked = {"writers": ("tensorboard",)}
    killed = metrics(folder, **asked).__enter__()
    take(killed, range(1, 8))
    killed.flush()
    with metrics(folder, after=5, **asked) as told:
        take(told, range(6, 11))
    killed.__exit__()
    shown = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "lr", "points_per_second", "data_wait"} <= set(shown.Tags()["scalars"])
    losses = [(each.step, each.value) for each in shown.Scalars("loss")]
    assert losses == [(step, pytest.approx(1 / step)) for step in range(1, 11)]


def test_wandb_is_one_offline_run_whatever_the_links(tmp_path):
    pytest.importorskip("wandb")
    folder = TaskFolder(tmp_path / "pretrain" / "m")
    folder.path.mkdir(parents=True)
    for after in (0, 2):
        with metrics(folder, after=after, writers=("wandb",)) as told:
            take(told, [after + 1, after + 2])
    names = {path.stem for path in folder.path.glob("wandb/offline-run-*/*.wandb")}
    assert names == {f"run-{(folder.path / 'wandb' / writers.RUN_ID).read_text()}"}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_writer_that_is_not_installed_says_what_to_type(monkeypatch, name):
    monkeypatch.setattr(writers, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=rf"{name} is not installed here. Type: pip install 'cosmo"):
        writers.check([name])


def test_long_metrics_are_cut_and_read_by_lines(tmp_path):
    folder = TaskFolder(tmp_path)
    count = 10_000
    with folder.metrics.open("w") as stream:
        for step in range(1, count + 1):
            line = {"events_seen": step * BATCH, **numbers(step), "padding": "." * 50}
            stream.write(json.dumps({"step": step, **line}) + "\n")
    tracemalloc.start()
    with metrics(folder, after=count - 10) as told:
        assert told.last()["step"] == count - 10
    assert sum(1 for _ in recorded(folder.metrics, count)) == count - 10
    _, held = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20
    assert lines(folder)[-1]["step"] == count - 10
