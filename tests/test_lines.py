"""Logs and metrics of any size: what is read of them, and how much memory that takes."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.chains.logs import follow
from pipeline.lines import MOST_BYTES, tail, whole_lines
from pipeline.planning.preflight.job import network
from pipeline.report.reader import Reader
from pipeline.run import TaskFolder

HUGE = 256 << 20
SMALL = 8 << 20


def peak(what: Callable[[], object]) -> tuple[object, int]:
    """Return what `what` returns, and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        found = what()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A log whose end is all that is of interest."""
    path = tmp_path / "logs" / "run.log"
    path.parent.mkdir()
    with path.open("wb") as stream:
        stream.truncate(HUGE)
        stream.seek(HUGE)
        stream.write(b"\nfirst\nsecond\nthird\n")
    return path


def test_the_end_of_a_huge_log_is_read_alone(huge: Path) -> None:
    (text, size), held = peak(lambda: tail(huge, 2))  # type: ignore[misc]
    assert (text, size) == ("second\nthird\n", HUGE + 20)
    assert held < SMALL


def test_a_huge_line_is_cut(huge: Path) -> None:
    (text, _), held = peak(lambda: tail(huge, 4))  # type: ignore[misc]
    assert len(text) == MOST_BYTES
    assert text.endswith("first\nsecond\nthird\n")
    assert held < 2 * SMALL


@pytest.mark.parametrize("count", [0, 1, 3, 4, 100])
def test_a_tail_is_that_of_all_lines(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb\n\nd")
    kept = "a\nb\n\nd".splitlines(keepends=True)[-count:] if count else []
    assert tail(path, count) == ("".join(kept), 6)


def test_a_huge_log_is_followed_in_parts(huge: Path) -> None:
    folder = TaskFolder(huge.parent.parent)
    shown = follow(folder, 1, interval_seconds=0)
    assert next(shown).endswith("third\n")
    with huge.open("r+b") as stream:
        stream.truncate(2 * HUGE)
    folder.done.touch()
    lengths, held = peak(lambda: sum(len(text) for text in shown))
    assert lengths == HUGE - 20
    assert held < SMALL


def test_a_torn_line_is_no_line_and_no_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert list(whole_lines(path)) == []
    path.write_text('{"a": 1}\n{"b": 2}\n{"c')
    assert list(whole_lines(path)) == ['{"a": 1}', '{"b": 2}']


def test_a_report_of_long_metrics_holds_numbers_alone(tmp_path: Path) -> None:
    path, count = tmp_path / "metrics.jsonl", 20_000
    rest = {"events_per_second": 1.0, "data_wait": 0.25, "memory_gib": 3.5}
    with path.open("w") as stream:
        for step in range(count):
            stream.write(json.dumps({"events_seen": 4 * step, "loss": 0.5, **rest}) + "\n")
        stream.write('{"events_seen": 7}\n{"events_')
    reader = Reader()
    found, held = peak(lambda: reader.columns(path, "events_seen", "loss"))
    assert found.shape == (count, 2)  # type: ignore[attr-defined]
    assert found[-1].tolist() == [4 * count - 4, 0.5]  # type: ignore[index]
    assert held < SMALL / 4
    assert not reader.problems


def test_a_huge_log_of_nccl_is_read_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "nccl.nid001.7.log"
    with path.open("w") as stream:
        for _ in range(200_000):
            stream.write("nid001:7:7 [0] NCCL INFO Channel 00/02 : 0 1\n")
        stream.write("nid001:7:7 [0] NCCL INFO Using network AWS Libfabric\n")
    found, held = peak(lambda: network(tmp_path))
    assert found == {"AWS Libfabric"}
    assert held < SMALL / 4
