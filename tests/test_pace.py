"""Pace and overhead of a training, from what lies on its disk."""

import json
import os
import time

import pytest

from pipeline import records
from pipeline.pace import TAIL_BYTES, newest, overheads, pace
from pipeline.records import LinkRecord
from pipeline.run import TaskFolder
from pipeline.writing import write_json


def link(number, *, began=0.0, first=30.0, last=90.0, ended=100.0):
    """The record of a link, by default one of 100 s, of which 40 were no steps."""
    return LinkRecord(
        number=number,
        key=f"k{number}",
        began=began,
        first_step=first,
        last_step=last,
        ended=ended,
    )


def write_steps(folder, count, *, seconds=0.5, waited=0.1):
    """Write the metrics of so many steps of four events and 100 points."""
    lines = [
        {
            "step": step,
            "events_seen": 4 * step,
            "loss": 1 / step,
            "points": 100,
            "seconds": seconds,
            "data_seconds": waited,
        }
        for step in range(1, count + 1)
    ]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_training_that_took_no_step_has_no_pace(tmp_path):
    assert pace(TaskFolder(tmp_path)) is None
    assert pace(TaskFolder(tmp_path / "none")) is None


def test_rates_are_of_the_newest_steps_and_tell_when_it_ends(tmp_path):
    folder = TaskFolder(tmp_path)
    write_steps(folder, 20)
    told = pace(folder, done=80, total=160)
    assert told.points_per_second == pytest.approx(100 / 0.5)
    assert told.data_wait == pytest.approx(0.1 / 0.5)
    assert told.loss == pytest.approx(1 / 20)
    assert told.eta_seconds == pytest.approx(20 * 0.5)
    assert (told.links, told.overhead_seconds, told.heartbeat_age_seconds) == (0, None, None)


def test_of_long_metrics_only_the_end_is_read_and_torn_lines_are_not(tmp_path):
    folder = TaskFolder(tmp_path)
    write_steps(folder, 3000)
    with folder.metrics.open("a") as stream:
        stream.write('{"step": 3001, "events')
    lines = newest(folder.metrics)
    assert folder.metrics.stat().st_size > 3 * TAIL_BYTES
    assert 1 < len(lines) < 1000
    assert [line["step"] for line in lines] == list(range(lines[0]["step"], 3001))


def test_overhead_is_what_a_link_does_before_its_first_step_and_after_its_last():
    assert overheads([link(1), link(2, first=10.0)]) == (pytest.approx(30), pytest.approx(0.3))


def test_of_a_killed_link_only_the_beginning_is_known():
    assert overheads([link(1, ended=None)]) == (pytest.approx(30), pytest.approx(30 / 90))


def test_of_a_link_at_work_steps_count_that_its_record_does_not_know_yet():
    records = [link(1), link(2, ended=None, last=31.0)]
    assert overheads(records, newest_step=130.0) == (pytest.approx(35), pytest.approx(70 / 230))


def test_records_that_are_damaged_and_links_without_a_step_do_not_count(tmp_path):
    folder = TaskFolder(tmp_path)
    records.write(folder.links / "001.json", link(1))
    records.write(folder.links / "002.json", link(2, first=None, last=None))
    (folder.links / "003.json").write_text("{")
    assert pace(folder).links == 1


def test_the_age_of_the_last_sign_of_life(tmp_path):
    folder = TaskFolder(tmp_path)
    write_steps(folder, 2)
    write_json(folder.heartbeat, {})
    os.utime(folder.heartbeat, (0, time.time() - 90))
    assert pace(folder).heartbeat_age_seconds == pytest.approx(90, abs=5)
