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

from pipeline.budget import record_files
from pipeline.budget.ledger import Ledger, LedgerError, Total
from pipeline.budget.record import Kind, Record
from pipeline.budget.recovery import Lost, mark_lost
from pipeline.job import State
from pipeline.trust import user_name


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
    assert ledger.records() == [said.model_copy(update={"user": user_name()})]


def test_records_come_back_as_they_were_appended_whatever_their_clocks_say(tmp_path):
    ledger = Ledger(tmp_path)
    kinds = [Kind.RESERVE, Kind.RELEASE, Kind.RESERVE, Kind.SUBMIT, Kind.END, Kind.RECONCILE]
    times = [1e9, 2e9, 0.0, 1.5e9, 7.0, 3.0]
    paths = [
        ledger.append(record(kind, when, node_hours=2))
        for kind, when in zip(kinds, times, strict=True)
    ]
    assert [path.name for path in paths] == [f"{number:012d}.json" for number in range(1, 7)]
    for reader in (ledger, Ledger(tmp_path)):
        assert [each.kind for each in reader.records()] == kinds


def test_a_ledger_of_an_earlier_version_comes_first_by_time(tmp_path):
    old = [(Kind.END, 3.0), (Kind.RESERVE, 1.0), (Kind.START, 3.0)]
    for kind, when in old:
        text = record(kind, when, node_hours=1).model_dump_json(exclude_none=True)
        (tmp_path / f"{when * 1e6:017.0f}-{kind}-abc.json").write_text(text + "\n")
    ledger = Ledger(tmp_path)
    assert ledger.append(record(Kind.RECONCILE, 0.0, node_hours=0.5)).name == "000000000001.json"
    kinds = ["reserve", "start", "end", "reconcile"]
    assert [each.kind for each in ledger.records()] == kinds
    assert ledger.accounts()["m0-1"].charged_node_hours == 0.5


@pytest.mark.parametrize("which", [[1], [5], [4, 5], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_record_that_is_gone_is_an_error_with_a_cure(tmp_path, which, fresh):
    folder = tmp_path / "ledger"
    ledger = Ledger(folder)
    paths = [ledger.append(record(Kind.RESERVE, 1, job_key=f"m0-{n}")) for n in range(5)]
    assert len(ledger.accounts()) == 5
    for number in which:
        paths[number - 1].unlink()
    if len(which) == 5:
        folder.rmdir()
    told = f"record {which[0]} is gone, of 5" if len(which) == 1 else f"{len(which)} records are"
    with pytest.raises(LedgerError, match=told) as error:
        (Ledger(folder) if fresh else ledger).accounts()
    assert "Type: cosmotron budget CAMPAIGN --recover" in str(error.value)


def test_a_changed_number_is_noticed(tmp_path):
    path = Ledger(tmp_path).append(record(Kind.END, 1, node_hours=12.5))
    path.write_text(path.read_text().replace("12.5", "2.5"))
    with pytest.raises(LedgerError, match=r"000000000001\.json: not the record .* hash differs"):
        Ledger(tmp_path).accounts()


def test_after_a_recovery_the_rest_is_read_and_new_records_follow(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    paths = [ledger.append(record(Kind.RESERVE, 1, job_key=f"m0-{n}")) for n in range(6)]
    paths[1].write_text("{")
    paths[3].unlink()
    paths[5].unlink()
    lost = mark_lost(ledger.folder)
    assert lost == Lost(("000000000002.json",), (2, 4, 6))
    assert (ledger.folder / "damaged" / "000000000002.json").read_text() == "{"
    again = Ledger(ledger.folder)
    assert list(again.accounts()) == ["m0-0", "m0-2", "m0-4"]
    assert again.append(record(Kind.RESERVE, 1)).name == "000000000007.json"
    assert mark_lost(ledger.folder) == Lost((), ())


def test_a_new_record_never_takes_the_number_of_one_that_is_gone(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    paths = [ledger.append(record(Kind.RESERVE, 1, job_key=f"m0-{n}")) for n in range(3)]
    for path in paths:
        path.unlink()
    assert ledger.append(record(Kind.RESERVE, 1)).name == "000000000004.json"
    with pytest.raises(LedgerError, match="3 records are gone, of 4"):
        ledger.accounts()


def test_a_count_that_lags_behind_is_no_error(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    for number in range(3):
        ledger.append(record(Kind.RESERVE, 1, job_key=f"m0-{number}"))
    record_files.count(ledger.folder, 2)
    assert record_files.counted(ledger.folder) == 3
    for path in record_files.count_folder(ledger.folder).iterdir():
        path.unlink()
    assert len(Ledger(ledger.folder).accounts()) == 3
    ledger.append(record(Kind.RESERVE, 1, job_key="m0-3"))
    assert record_files.counted(ledger.folder) == 4


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
    first = Ledger(tmp_path).append(record(Kind.RESERVE, 1, node_hours=4))
    monkeypatch.setattr(record_files, "names", lambda _: set())  # as a stale listing has it
    monkeypatch.setattr(record_files, "counted", lambda _: 0)
    second = Ledger(tmp_path).append(record(Kind.RESERVE, 1, node_hours=5))
    assert (first.name, second.name) == ("000000000001.json", "000000000002.json")
    monkeypatch.undo()
    assert [each.node_hours for each in Ledger(tmp_path).records()] == [4, 5]


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


def test_what_others_append_is_seen(tmp_path):
    ledger, other = Ledger(tmp_path), Ledger(tmp_path)
    ledger.append(record(Kind.RESERVE, 1, node_hours=2.0))
    ledger.append(record(Kind.RESERVE, 2, node_hours=1.0, job_key="m0-2"))
    assert list(ledger.accounts()) == ["m0-1", "m0-2"]
    other.append(record(Kind.END, 3, node_hours=0.5, state=State.COMPLETED))
    assert ledger.accounts()["m0-1"].charged_node_hours == 0.5
