"""`metrics.jsonl`: what each step of a training was, whichever link took it."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.run import TaskFolder, write_json
from pipeline.training.engine import World
from pipeline.training.program import Every

if TYPE_CHECKING:
    from io import TextIOWrapper


class Metrics:
    """`metrics.jsonl`, one line a step, and `progress.json`; only the first process writes."""

    def __init__(self, folder: TaskFolder, world: World, *, seen: int, end: int) -> None:
        self.folder, self.end, self.seen = folder, end, seen
        self.writes = world.is_first
        self.time_to_tell = Every(1.0)
        self.stream: TextIOWrapper | None = None

    def __enter__(self) -> Self:
        """Open the file, without the steps that the resumed checkpoint had not seen."""
        if self.writes:
            lines = _lines(self.folder.metrics)
            kept = [line for line in lines if line["events_seen"] <= self.seen]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            self.folder.metrics.write_text(text)
            self.stream = self.folder.metrics.open("a")
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        if self.stream is not None:
            self.stream.close()

    def write(self, step: int, seen: int, numbers: dict[str, float]) -> None:
        """Append the numbers of one step."""
        if self.stream is None:
            return
        self.stream.write(json.dumps({"step": step, "events_seen": seen, **numbers}) + "\n")
        self.stream.flush()
        if seen == self.end or self.time_to_tell():
            progress = {"done": seen, "total": self.end, "unit": "events"}
            write_json(self.folder.progress, progress | {"loss": numbers["loss"]})

    def last(self) -> dict[str, float]:
        """Return the numbers of the last step written, by whichever link."""
        return _lines(self.folder.metrics)[-1] if self.writes else {"loss": math.nan}


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a metrics file; a torn last line, of a killed link, is dropped."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
