"""Where a step goes: a trace of N steps for a viewer, and a table for a person.

`trace-rank0.json.gz` opens in https://ui.perfetto.dev or chrome://tracing. Profiling changes no
result: the weights of a training have the same bits with it and without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

PARTS = ("data wait", "forward", "backward", "optimiser", "metrics", "validation", "saving")
COLLECTIVES = ("gloo:", "nccl:")
WARM_UP = 3
TOP = 20
NOTE = (
    "Milliseconds per step of the first process, by the wall clock. Communication happens within\n"
    "the parts. On a GPU the profile waits for the end of each part, so that its time is counted\n"
    "there; without a profile a step is shorter.\n"
)
_waits = False


@contextmanager
def part(name: str) -> Iterator[None]:
    """Label the body in a profile, if there is one."""
    with record_function(name):
        yield
        if _waits:
            torch.cuda.synchronize()


class Profile:
    """Traces `steps` steps after three to warm up, and writes them to `folder`; 0 traces none."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps
        self.profiler: profile | None = None

    def __enter__(self) -> Self:
        """Start the profiler."""
        if self.steps:
            self.profiler = profile(
                activities=_activities(),
                schedule=schedule(wait=0, warmup=WARM_UP, active=self.steps, repeat=1),
                on_trace_ready=self._write,
            )
            self.profiler.start()
            _wait(torch.cuda.is_available())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; the trace of a training that ends early is written too."""
        if self.profiler is not None:
            self.profiler.stop()
            _wait(False)

    def step(self) -> None:
        """Mark the end of a step."""
        if self.profiler is None:
            return
        self.profiler.step()
        if self.profiler.step_num == WARM_UP + self.steps:
            self.__exit__(None, None, None)
            self.profiler = None

    def _write(self, ended: profile) -> None:
        """Write the trace and the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ended.export_chrome_trace(str(self.folder / "trace-rank0.json.gz"))
        (self.folder / "table.txt").write_text(table(ended.key_averages()))


def _activities() -> list[ProfilerActivity]:
    device = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return [ProfilerActivity.CPU, *device]


def _wait(value: bool) -> None:
    """Set whether parts wait for the device."""
    global _waits  # noqa: PLW0603 - one profile per process, which every part reads
    _waits = value


def table(events: Any) -> str:
    """Return the time of each part of a step, and the slowest operators, as text.

    `events` are torch's averages by name: `key`, `count`, and times in microseconds.
    """
    # With a device, each range appears a second time as its annotation.
    on_host = [each for each in events if each.device_type.name == "CPU"]
    steps = [each for each in on_host if each.key.startswith("ProfilerStep")]
    count = sum(each.count for each in steps)
    if not count:
        return "No step was traced: the training ended first.\n"
    whole = sum(each.cpu_time_total for each in steps) / count
    spent = {name: _spent(on_host, (name,)) / count for name in PARTS}
    spent["other"] = whole - sum(spent.values())
    rows = [_row(name, value, whole) for name, value in spent.items()]
    rows += [_row("a step", whole, whole), "", "of these"]
    rows.append(_row("communication", _spent(on_host, COLLECTIVES) / count, whole))
    by = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    operators = events.table(sort_by=by, row_limit=TOP, max_name_column_width=60)
    return f"{count} steps traced.\n{NOTE}\n" + "\n".join(rows) + f"\n\nOperators\n{operators}\n"


def _spent(events: list[Any], names: tuple[str, ...]) -> float:
    """Return the microseconds in ranges whose names start with one of `names`."""
    return float(sum(each.cpu_time_total for each in events if each.key.startswith(names)))


def _row(name: str, microseconds: float, whole: float) -> str:
    return f"{name:<16}{microseconds / 1000:>12.3f} ms{microseconds / whole:>10.1%}"
