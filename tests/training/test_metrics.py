"""What is told of each step: once, whichever links took it, and with rates that can be checked."""

import json
import os
import tracemalloc

import pytest

torch = pytest.importorskip("torch")
wandb = pytest.importorskip("wandb")
pytest.importorskip("deepspeed")

from ranks import training
from wandb_here import wandb_server

from pipeline.data.errors import BadInput
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.steps import wandb_server as wandb_server_of
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


@pytest.fixture
def no_wandb(monkeypatch, tmp_path):
    """No settings of W&B from outside, and no key."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return monkeypatch


def trained_in(folder, after):
    """Take five steps after `after` ones, as a link does."""
    with metrics(folder, after=after, writers=("wandb",)) as told:
        take(told, range(after + 1, after + 6))
    wandb.teardown()  # each link is a process of its own


@pytest.fixture
def task(tmp_path):
    folder = TaskFolder(tmp_path / "grid" / "pretrain" / "m-d24-s3")
    folder.path.mkdir(parents=True)
    return folder


def test_wandb_is_one_offline_run_whatever_the_links(task, no_wandb, capfd):
    for after in (0, 2):
        trained_in(task, after)
    names = {path.stem for path in task.path.glob("wandb/offline-run-*/*.wandb")}
    assert names == {f"run-{(task.path / 'wandb' / writers.RUN_ID).read_text()}"}
    assert "wandb: offline, since no key: neither WANDB_API_KEY nor" in capfd.readouterr().err


def test_wandb_is_one_live_run_whatever_the_links(task, no_wandb, capfd):
    with wandb_server() as server:
        no_wandb.setenv("WANDB_BASE_URL", server.address)
        no_wandb.setenv("WANDB_API_KEY", "k" * 40)
        for after in (0, 2, 7):
            trained_in(task, after)
        (run,) = server.runs.values()
        assert [line["_step"] for line in server.history] == list(range(1, 13))
        assert [line["loss"] for line in server.history] == [1 / step for step in range(1, 13)]
    assert (run["project"], run["groupName"], run["jobType"]) == ("grid", "m-d24", "pretrain")
    assert "less than the current step" not in capfd.readouterr().err
    assert json.loads(run["config"])["batch_events"]["value"] == BATCH


def test_wandb_is_offline_where_its_server_is_out_of_reach(task, no_wandb, capfd):
    no_wandb.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (task.path.parents[2] / "netrc").write_text("machine 127.0.0.1 login user password key")
    trained_in(task, 0)
    assert "127.0.0.1:9 does not answer from this node ([Errno 111]" in capfd.readouterr().err
    assert [*task.path.glob("wandb/offline-run-*/*.wandb")]


def test_a_proxy_of_the_site_is_the_way_to_the_server(no_wandb):
    no_wandb.setenv("WANDB_API_KEY", "k")
    no_wandb.setenv("WANDB_BASE_URL", "http://wandb.invalid")
    assert wandb_server_of.mode() == "offline"
    with wandb_server() as proxy:
        no_wandb.setenv("http_proxy", proxy.address)
        assert wandb_server_of.mode() == "online"


@pytest.mark.parametrize("breaks", ["write", "flush", "close", "__init__"])
def test_a_copy_that_fails_does_not_end_the_training(task, monkeypatch, capsys, breaks):
    def fail(*_):
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(writers.TensorBoard, breaks, fail)
    with metrics(task, writers=("tensorboard",)) as told:
        take(told, range(1, 4))
        told.flush()
    assert len(lines(task)) == 3
    said = "writers: no more copies for tensorboard: ConnectionResetError('Connection lost')"
    assert capsys.readouterr().err.count(said) == 1


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
