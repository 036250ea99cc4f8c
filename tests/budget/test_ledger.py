import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import get_context

import pytest
from pydantic import ValidationError

from pipeline.budget.ledger import Ledger, LedgerError, Total
from pipeline.budget.record import Kind, Record
from pipeline.job import State


def record(kind, when, **more):
    fields = {"site": "here", "stage": "pretrain", "task": "pretrain/m0", "job_key": "m0-1"}
    return Record(kind=kind, time=when, **(fields | more))


def test_an_empty_ledger_holds_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.records() == []
    assert ledger.accounts() == {}
    assert ledger.totals() == {}


def test_a_record_comes_back_as_it_was(tmp_path):
    ledger = Ledger(tmp_path)
    said = record(Kind.END, 12.345678, seconds=7, node_hours=0.1, state=State.FAILED, note="é")
    ledger.append(said)
    assert ledger.records() == [said]


def test_records_come_back_by_time_and_then_in_the_order_of_a_jobs_life(tmp_path):
    ledger = Ledger(tmp_path)
    for kind in (Kind.END, Kind.START, Kind.SUBMIT, Kind.RESERVE):
        ledger.append(record(kind, 5))
    ledger.append(record(Kind.RECONCILE, 1e9))
    ledger.append(record(Kind.RELEASE, 4))
    kinds = [each.kind for each in ledger.records()]
    assert kinds == ["release", "reserve", "submit", "start", "end", "reconcile"]


def test_file_names_sort_by_time(tmp_path):
    times = [0.0, 9.5, 10.0, 1.7e9, 1.7e9 + 1e-5]
    paths = [Ledger(tmp_path).append(record(Kind.START, when)) for when in times]
    assert sorted(paths) == paths


def test_totals_hold_what_is_promised_and_charged_at_each_site(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append(record(Kind.RESERVE, 1, node_hours=4))
    ledger.append(record(Kind.RESERVE, 2, node_hours=6, job_key="m0-2"))
    ledger.append(record(Kind.END, 3, node_hours=2.5, seconds=9, state=State.COMPLETED))
    ledger.append(record(Kind.RESERVE, 4, node_hours=1, job_key="far", site="there"))
    assert ledger.totals() == {"here": Total(6, 2.5), "there": Total(1, 0)}


@pytest.mark.parametrize("damage", ["", '{"kind": "rese', "[]", '{"kind": "reserve", "time": 1}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    ledger = Ledger(tmp_path)
    path = ledger.append(record(Kind.RESERVE, 1))
    path.write_text(damage)
    with pytest.raises(LedgerError, match=path.name):
        ledger.records()


def test_a_record_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    (tmp_path / "1.json").mkdir()
    with pytest.raises(LedgerError, match=r"1\.json: no record .* \(Is a directory\)"):
        Ledger(tmp_path).records()


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="hours"):
        record(Kind.RESERVE, 1, hours=3)


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        LedgerError, match=r"the reserve of m0-1 cannot be recorded .*Free some space"
    ):
        Ledger(tmp_path / "file").append(record(Kind.RESERVE, 1))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="No space left on device"):
        Ledger(tmp_path).append(record(Kind.RESERVE, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_link_whose_answer_nfs_lost_counts(tmp_path, monkeypatch):
    link = os.link

    def lost(source, target):
        link(source, target)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", lost)
    Ledger(tmp_path).append(record(Kind.RESERVE, 1))
    assert len(Ledger(tmp_path).records()) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_record_is_never_written_over_another(tmp_path, monkeypatch):
    monkeypatch.setattr("uuid.uuid4", lambda: type("Same", (), {"hex": "0"}))
    Ledger(tmp_path).append(record(Kind.RESERVE, 1, node_hours=4))
    with pytest.raises(LedgerError, match="File exists"):
        Ledger(tmp_path).append(record(Kind.RESERVE, 1, node_hours=5))
    assert Ledger(tmp_path).records()[0].node_hours == 4


def _append_many(folder, name, count):
    for number in range(count):
        Ledger(folder).append(record(Kind.RESERVE, number, job_key=f"{name}-{number}"))


def test_two_processes_at_once_lose_no_record(tmp_path):
    spawn = get_context("spawn")
    writers = [spawn.Process(target=_append_many, args=(tmp_path, n, 200)) for n in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    keys = {f"{name}-{number}" for name in "ab" for number in range(200)}
    assert set(Ledger(tmp_path).accounts()) == keys
    assert len(Ledger(tmp_path).records()) == 400


def test_a_writer_killed_midway_leaves_no_half_record(tmp_path):
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from pipeline.budget.ledger import Ledger
        from pipeline.budget.record import Kind, Record
        for number in range(10**9):
            Ledger(Path(sys.argv[1])).append(Record(
                kind=Kind.RESERVE, time=number, site="here", stage="pretrain", task="t",
                job_key=str(number), note="n" * 20_000))
    """)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        deadline = time.monotonic() + 20
        before = len(list(tmp_path.glob("*.json")))
        while len(list(tmp_path.glob("*.json"))) < before + 20:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        records = Ledger(tmp_path).records()
        assert len(records) >= before + 20
        assert all(json.loads(path.read_text()) for path in tmp_path.glob("*.json"))


def test_what_others_append_and_what_is_moved_away_is_seen(tmp_path):
    ledger, other = Ledger(tmp_path), Ledger(tmp_path)
    path = ledger.append(record(Kind.RESERVE, 1, node_hours=2.0))
    ledger.append(record(Kind.RESERVE, 2, node_hours=1.0, job_key="m0-2"))
    assert list(ledger.accounts()) == ["m0-1", "m0-2"]
    other.append(record(Kind.END, 3, node_hours=0.5, state=State.COMPLETED))
    assert ledger.accounts()["m0-1"].charged_node_hours == 0.5
    path.unlink()
    assert ledger.accounts()["m0-1"].reserved_node_hours == 0.0
    for left in tmp_path.glob("*-end-*.json"):
        left.unlink()
    assert list(ledger.accounts()) == ["m0-2"] == list(Ledger(tmp_path).accounts())
