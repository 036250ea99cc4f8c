"""`metrics.jsonl`: the metrics of each step of a training, over all its links."""

import json
import math
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from pipeline import records
from pipeline.campaign import Training
from pipeline.lines import json_lines, tail
from pipeline.records import TaskProgress
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.link.here import this_link
from pipeline.training.programs.program import Throttle
from pipeline.training.steps import writers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper

GIB = 2**30


@dataclass(frozen=True)
class Speed:
    """Computes rates from the points and seconds of a step.

    `flops_per_point` counts forward and backward, `peak_flops` is the peak of all devices together
    in FLOP/s; without both there is no `mfu`.
    """

    batch_events: int
    flops_per_point: float | None = None
    peak_flops: float | None = None

    @classmethod
    def of(cls, training: Training, flops_per_point: float | None, world: World) -> "Speed":
        """Return the speed of `training` on the devices of this link."""
        peak = this_link().peak_tflops.get(training.precision)
        peak_flops = None if peak is None else peak * 1e12 * world.size
        return cls(training.batch_events, flops_per_point, peak_flops)

    def rates(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return points and events per second, the share of data wait, and MFU if known.

        MFU is the model's FLOP/s over the devices' peak, without the FLOPs of activation
        checkpointing (Chowdhery et al., arXiv:2204.02311, appendix B).
        """
        seconds = numbers["seconds"]
        points_per_second = numbers["points"] / seconds
        rates = {
            "points_per_second": points_per_second,
            "events_per_second": self.batch_events / seconds,
            "data_wait": numbers["data_seconds"] / seconds,
        }
        if self.flops_per_point is not None and self.peak_flops is not None:
            rates["mfu"] = points_per_second * self.flops_per_point / self.peak_flops
        return rates


class Metrics:
    """`metrics.jsonl`, one line per step, and `progress.json`; only the first process writes.

    The lines are flushed every `metrics_steps` steps, and synced before a checkpoint is complete,
    so that after a resume no step is missing or there twice.
    """

    def __init__(
        self,
        folder: TaskFolder,
        world: World,
        training: Training,
        *,
        seen: int,
        speed: Speed | None = None,
    ) -> None:
        self.folder, self.training, self.seen = folder, training, seen
        self.end = training.steps * training.batch_events
        self.speed = speed or Speed(training.batch_events)
        self.writes = world.is_first
        self.progress_due = Throttle(1.0)
        self.stream: TextIOWrapper | None = None
        self.copies: Sequence[writers.Writer] = ()

    def __enter__(self) -> Self:
        """Open the file, and remove the steps after the checkpoint that was resumed."""
        if self.writes:
            _cut(self.folder.metrics, self.seen)
            self.stream = self.folder.metrics.open("a")
            step = self.seen // self.training.batch_events
            settings = self.training.model_dump(mode="json")
            self.copies = writers.opened(self.training.writers, self.folder.path, step, settings)
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        if self.stream is not None:
            self.stream.close()
        for copy in self.copies:
            copy.close()

    def write(self, step: int, seen: int, numbers: dict[str, float]) -> None:
        """Append the metrics of one step, and the rates that follow from them."""
        if self.stream is None:
            return
        line = {"events_seen": seen, **numbers, **self.speed.rates(numbers)}
        line["memory_gib"] = memory_gib()
        self.stream.write(json.dumps({"step": step, **line}) + "\n")
        if step % self.training.metrics_steps == 0 or seen == self.end:
            self.stream.flush()
        for copy in self.copies:
            copy.write(step, line)
        if seen == self.end or self.progress_due():
            progress = TaskProgress(done=seen, total=self.end, unit="events", loss=numbers["loss"])
            records.write(self.folder.progress, progress, durable=False)

    def flush(self) -> None:
        """Sync all lines to disk, before a checkpoint is complete."""
        if self.stream is not None:
            self.stream.flush()
            os.fsync(self.stream.fileno())
        for copy in self.copies:
            copy.flush()

    def last(self) -> dict[str, float]:
        """Return the metrics of the last step written, by any link."""
        if not self.writes:
            return {"loss": math.nan}
        text, _ = tail(self.folder.metrics, 2)  # the last one may be torn
        *_, newest = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
        last: dict[str, Any] = json.loads(newest)
        return last


def memory_gib() -> float:
    """Return the peak memory that this process allocated on its device, in GiB.

    Without a device it is the peak resident memory of the process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def _cut(path: Path, seen: int) -> None:
    """Cut a metrics file after its steps up to `seen` events, and what a killed link tore off."""
    end = 0
    for line, after in json_lines(path):
        if line["events_seen"] > seen:
            break
        end = after
    if path.exists() and path.stat().st_size > end:
        os.truncate(path, end)
