"""How fast a training goes and what its links cost, from what it wrote; nothing need be running."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.outcome import RunError
from pipeline.run import TaskFolder
from pipeline.writing import read_json

TAIL_BYTES = 65536

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Pace:
    """One training; None is what its files do not say.

    `overhead_seconds` are the mean of its links, from the start of the batch script to the first
    step and from the last step to the exit; `overhead_share` is what they are of all its time.
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

    A rate, and with it the time that is left, is of the steps in the last 64 KiB of metrics,
    without what checkpoints took.
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


def links(folder: TaskFolder) -> list[Line]:
    """Return the records of the training's links; one that is damaged is left out."""
    found = [_read(path) for path in folder.link_records]
    return [record for record in found if record and record.get("first_step") is not None]


def link_seconds(folder: TaskFolder) -> float:
    """Return how long the training's links that have ended took, all together."""
    ended = (record for record in links(folder) if record["ended"] is not None)
    return float(sum(record["ended"] - record["began"] for record in ended))


def overheads(
    records: Sequence[Line], told: float | None = None
) -> tuple[float | None, float | None]:
    """Return the mean overhead of `records` in seconds, and the share of all their time.

    Of a link that was killed or is at work the end is not known, and only what is known counts; of
    the last one, that it took steps until `told`, when it last wrote of one.
    """
    if not records:
        return None, None
    overhead = whole = 0.0
    for record in records:
        last = record["last_step"]
        if record["ended"] is None and record is records[-1]:
            last = max(last, told or last)
        ended = record["ended"] or last
        overhead += record["first_step"] - record["began"] + ended - last
        whole += ended - record["began"]
    return overhead / len(records), overhead / whole if whole else 0.0


def newest(metrics: Path) -> list[Line]:
    """Return the steps in the last 64 KiB of `metrics`, but for those that are torn."""
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


def _read(path: Path) -> Line:
    """Return the JSON object in `path`, nothing where it cannot be read."""
    try:
        return read_json(path) or {}
    except (RunError, OSError):
        return {}


def _heartbeat(folder: TaskFolder) -> float | None:
    """Return the seconds since the training last gave a sign of life; None if it gives none."""
    changed = _changed(folder.heartbeat)
    return None if changed is None else max(0.0, time.time() - changed)


def _changed(path: Path) -> float | None:
    """Return when `path` was last written, in seconds since 1970; None if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
