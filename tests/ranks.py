"""Start a training program as a batch script does: one process per rank, told who it is."""

import json
import os
import socket
import sys
import time
from pathlib import Path

from made_batches import HEAD, MODEL
from rank_server import Rank

from pipeline.campaign import FinetuneTask, PretrainTask, Training, declare
from pipeline.run import TaskFolder

DEADLINE_SECONDS = 120


def training(**changes) -> Training:
    """A short training on two ranks: 60 steps, a checkpoint every 5."""
    asked = {
        "events_seen": 240,
        "batch_events": 4,
        "learning_rate": 1e-3,
        "warmup_events": 40,
        "checkpoint_events": 20,
        "devices": 2,
        "walltime_minutes": 1,
    }
    asked |= changes
    asked["warmup_events"] = min(asked["warmup_events"], asked["events_seen"])
    return Training(**asked)


def pretraining(path: Path, store: Path, *, validation=None, **changes) -> TaskFolder:
    """The folder of a declared pretraining."""
    task = PretrainTask(
        key="pretrain/made",
        seed=5,
        model=MODEL.model_copy(update={"dropout": 0.1}),  # so that random states matter
        store=store,
        split="train",
        events=24,
        validation=validation,
        training=training(**changes),
    )
    declare(TaskFolder(path), task)
    return TaskFolder(path)


def finetuning(
    path: Path, store: Path, *, mode="scratch", backbone=None, validation=None, **changes
) -> TaskFolder:
    """The folder of a declared fine-tuning."""
    task = FinetuneTask(
        key="finetune/made",
        seed=5,
        mode=mode,
        model=MODEL,
        head=HEAD,
        backbone=backbone,
        store=store,
        split="train",
        labels=16,
        validation=validation,
        training=training(**{"events_seen": 16, **changes}),
    )
    declare(TaskFolder(path), task)
    return TaskFolder(path)


class Ranks:
    """The processes of one link."""

    def __init__(self, folder: TaskFolder, program: str = "pretrain", *, size: int = 2) -> None:
        command = [sys.executable, "-m", f"pipeline.training.programs.{program}", str(folder.path)]
        self.folder = folder
        self.log = folder.path / "log.txt"
        self.processes = start(command, size=size, log=self.log)

    def wait_for_step(self, step: int) -> None:
        """Return when this many steps are recorded."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(steps(self.folder)) < step:
            running = all(process.poll() is None for process in self.processes)
            assert running, f"ended before step {step}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"no step {step}: {self.log.read_text()}"
            time.sleep(0.002)

    def send(self, number: int) -> None:
        """Send a signal to every rank, as Slurm does."""
        for process in self.processes:
            process.send_signal(number)

    def end(self) -> int:
        """Return the exit code, which all ranks must share."""
        codes = {process.wait(DEADLINE_SECONDS) for process in self.processes}
        assert len(codes) == 1, f"{codes}: {self.log.read_text()}"
        return codes.pop()


def start(command: list[str], *, size: int, log: Path, **environment: str) -> list[Rank]:
    """Start `command` once per rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    assert command[0] == sys.executable
    return [
        Rank(
            command[1:],
            {**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment},
            log,
        )
        for rank in range(size)
    ]


def run(folder: TaskFolder, program: str = "pretrain", *, size: int = 2) -> int:
    """Run one link to its end; return the exit code of its ranks."""
    return Ranks(folder, program, size=size).end()


def steps(folder: TaskFolder) -> list[int]:
    """The steps that `metrics.jsonl` records, in its order."""
    if not folder.metrics.exists():
        return []
    return [json.loads(line)["step"] for line in folder.metrics.read_text().split("\n")[:-1]]


def result(folder: TaskFolder) -> dict[str, object]:
    """What the task recorded of its end."""
    return json.loads(folder.result.read_text())
