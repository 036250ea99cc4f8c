"""The logs of a task's jobs."""

import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.claims import Judge, Verdict
from pipeline.run import TaskFolder


def logs(folder: TaskFolder) -> list[Path]:
    """Return the logs of a task's jobs and parts that are not empty, the newest last."""
    found = [path for path in folder.logs.glob("*.log") if path.stat().st_size]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def tail(path: Path, lines: int) -> tuple[str, int]:
    """Return the last `lines` of the file, and its size in bytes."""
    content = path.read_bytes()
    kept = content.decode(errors="replace").splitlines(keepends=True)[-lines:] if lines else []
    return "".join(kept), len(content)


def follow(folder: TaskFolder, lines: int, interval_seconds: float = 0.5) -> Iterator[str]:
    """Yield the end of the task's newest log, and what is added, until the task is over.

    When the next link begins, its log follows below a line that names it.
    """
    shown: dict[Path, int] = {}
    judge = Judge(folder.claim)
    while True:
        over = folder.is_done or (judge() is Verdict.FREE and folder.result.exists())
        for path in logs(folder)[-1:]:
            if path not in shown:
                text, shown[path] = tail(path, lines)
                yield f"==> {path} <==\n{text}"
                continue
            with path.open("rb") as stream:
                stream.seek(shown[path])
                added = stream.read()
            shown[path] += len(added)
            if added:
                yield added.decode(errors="replace")
        if over:
            return
        time.sleep(interval_seconds)
