"""How fast a training is and what its links cost, from the files it wrote; it need not run."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import records as stored
from pipeline.outcome import RunError
from pipeline.records import LinkRecord
from pipeline.run import TaskFolder

TAIL_BYTES = 65536

Line = Mapping[str, Any]  # one step in metrics.jsonl: what a training records is its own choice


@dataclass(frozen=True)
class Pace:
    """The pace of one training; None is unknown.

    `overhead_seconds` is the mean over its links of the time from the start of the batch script to
    the first step and from the last step to the exit; `overhead_share` is its share of all time.
    `data_wait` is the share of a step, `points_per_second` the rate, over the newest steps.
    """

    links: int
    overhead_seconds: float | None = None
    overhead_share: float | None = None
    data_wait: float | None = None
    points_per_second: float | None = None
    loss: float | None = None
    eta_seconds: float | None = None
    heartbeat_age_seconds: float | None = None


def pace(folder: TaskFolder, *, done: int = 0, total: int = 0) -> Pace | None:
    """Return the pace of a training at `done` of `total` events; None if it took no step.

    The rate, and with it the remaining time, is that of the steps in the last 64 KiB of metrics,
    without the time of checkpoints.
    """
    records, lines = links(folder), newest(folder.metrics)
    if not records and not lines:
        return None
    overhead, share = overheads(records, _changed(folder.metrics))
    seconds = sum(line["seconds"] for line in lines)
    rate: dict[str, float | None] = {}
    if seconds > 0:
        events = lines[-1]["events_seen"] - lines[0]["events_seen"]
        later = seconds - lines[0]["seconds"]
        rate = {
            "data_wait": sum(line["data_seconds"] for line in lines) / seconds,
            "points_per_second": sum(line.get("points", 0) for line in lines) / seconds,
            "loss": lines[-1]["loss"],
            "eta_seconds": later * (total - done) / events if events and total else None,
        }
    return Pace(len(records), overhead, share, **rate, heartbeat_age_seconds=_heartbeat(folder))


def links(folder: TaskFolder) -> list[LinkRecord]:
    """Return the records of the links that took a step, without those that are damaged."""
    found = [_link(path) for path in folder.link_records]
    return [record for record in found if record is not None and record.first_step is not None]


def link_seconds(folder: TaskFolder) -> float:
    """Return the time of all links of the training that have ended."""
    return sum(each.end - each.began for each in links(folder) if each.ended is not None)


def overheads(
    records: Sequence[LinkRecord], newest_step: float | None = None
) -> tuple[float | None, float | None]:
    """Return the mean overhead of `records` in seconds, and its share of all their time.

    The end of a link that was killed or still works is not known: its time counts up to the last
    known step, for the last link up to `newest_step`, when metrics were last written.
    """
    if not records:
        return None, None
    overhead = whole = 0.0
    for record in records:
        last, end = record.last, record.end
        if record.ended is None and record is records[-1]:
            last = end = max(last, newest_step or last)
        overhead += record.start_up_seconds + end - last
        whole += end - record.began
    return overhead / len(records), overhead / whole if whole else 0.0


def newest(metrics: Path) -> list[Line]:
    """Return the steps in the last 64 KiB of `metrics`, without torn lines."""
    try:
        with metrics.open("rb") as stream:
            start = max(0, metrics.stat().st_size - TAIL_BYTES)
            stream.seek(start)
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    lines = text.split("\n")[1 if start else 0 : -1]
    return [line for line in map(_parsed, lines) if {"seconds", "data_seconds"} <= line.keys()]


def _parsed(line: str) -> Line:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _link(path: Path) -> LinkRecord | None:
    """Return the record in `path`, None where it cannot be read."""
    try:
        return stored.read(path, LinkRecord)
    except (RunError, OSError):
        return None


def _heartbeat(folder: TaskFolder) -> float | None:
    """Return the seconds since the training's last heartbeat; None if there is none."""
    changed = _changed(folder.heartbeat)
    return None if changed is None else max(0.0, time.time() - changed)


def _changed(path: Path) -> float | None:
    """Return when `path` was last written, in seconds since 1970; None if there is no such file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
