"""The logs of a task's jobs."""

import time
from collections.abc import Iterator
from pathlib import Path

from pipeline import pace
from pipeline.claims import ClaimState, Detector
from pipeline.lines import added, tail
from pipeline.run import TaskFolder


def logs(folder: TaskFolder) -> list[Path]:
    """Return the logs of a task's jobs and parts that are not empty, the newest last."""
    found = [path for path in folder.logs.glob("*.log") if path.stat().st_size]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def ends(folder: TaskFolder, lines: int) -> str:
    """Return the last `lines` of the task's newest log, and of a training its last steps.

    Each below a line that names the file; empty where there is neither.
    """
    texts = [(path, tail(path, lines)[0]) for path in logs(folder)[-1:]]
    texts.append((folder.metrics, _steps(folder, lines=lines)[0]))
    return "".join(f"==> {path} <==\n{text}" for path, text in texts if text)


def _steps(folder: TaskFolder, after: int = 0, lines: int | None = None) -> tuple[str, int]:
    """Return the steps `after` one, a line each, at most the last `lines`; and the newest's number.

    A task that is no training has none.
    """
    newest = [line for line in pace.newest(folder.metrics) if line.get("step", 0) > after]
    shown = newest if lines is None else newest[len(newest) - min(lines, len(newest)) :]
    last = max((line["step"] for line in newest), default=after)
    return "".join(f"{_step(each)}\n" for each in shown), last


def _step(line: pace.Line) -> str:
    """Return one step: its number, the events seen, the loss, the rate, and how fast it was."""
    words = [f"step {line.get('step', '?'):>7}", f"{line.get('events_seen', '?'):>10} events"]
    numbers = {"loss": "loss", "lr": "rate", "grad_norm": "norm", "events_per_second": "events/s"}
    words += [f"{name} {line[key]:.4g}" for key, name in numbers.items() if key in line]
    return "  ".join(words)


def follow(folder: TaskFolder, lines: int, interval_seconds: float = 0.5) -> Iterator[str]:
    """Yield the end of the task's newest log, and what is added, until the task is over.

    When the next link begins, its log follows below a line that names it. Of a training its steps
    follow too, as they are written.
    """
    shown: dict[Path, int] = {}
    detector = Detector(folder.claim)
    step = 0
    while True:
        over = folder.is_done or (detector() is ClaimState.FREE and folder.result.exists())
        for path in logs(folder)[-1:]:
            if path not in shown:
                text, shown[path] = tail(path, lines)
                yield f"==> {path} <==\n{text}"
                continue
            for part in added(path, shown[path]):
                shown[path] += len(part)
                yield part.decode(errors="replace")
        text, step = _steps(folder, step, None if step else lines)
        if text:
            yield text
        if over:
            return
        time.sleep(interval_seconds)
