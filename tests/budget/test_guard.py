"""The cap is never passed: not by one, not by two at once, not by one that was paused."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from pipeline.budget import guard, lease
from pipeline.budget.guard import BudgetError, check, reserve
from pipeline.budget.lease import NAME, LeaseError
from pipeline.budget.ledger import Ledger, LedgerError
from pipeline.budget.record import Kind, Record

CAP = 10.0


def asked(key, node_hours, **more):
    fields = {"site": "here", "stage": "pretrain", "task": "pretrain/m0", "job_key": key}
    return Record(kind=Kind.RESERVE, node_hours=node_hours, **(fields | more))


def reserved(ledger):
    return sum(each.reserved_node_hours for each in ledger.totals().values())


def test_what_is_charged_and_promised_counts(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append(asked("m0-1", 3))
    ledger.append(asked("m0-0", 1).model_copy(update={"kind": Kind.END}))
    check(ledger, "here", 6, CAP)
    check(ledger, "elsewhere", 10, CAP)
    with pytest.raises(BudgetError) as refusal:
        check(ledger, "here", 6.5, CAP)
    assert str(refusal.value) == (
        "here: 6.50 node-hours requested, 6.00 left of 10.00 (1.00 charged, 3.00 reserved): 0.50 "
        "too many. Raise the cap, request less, or wait until running jobs release what they do "
        "not use."
    )


def test_what_does_not_fit_leaves_no_record(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(BudgetError):
        reserve(ledger, [asked("a", 6), asked("b", 6)], CAP)
    assert ledger.records() == []
    reserve(ledger, [asked("a", 4), asked("b", 6)], CAP)
    assert reserved(ledger) == CAP
    reserve(ledger, [asked("c", 99)], None)
    assert reserved(ledger) == 109


def race(root: str, barrier, name, times, won):
    """Ask for six of ten node-hours, again and again, each time in another ledger."""
    for number in range(times):
        ledger = Ledger(Path(root) / str(number))
        barrier.wait(60)
        try:
            reserve(ledger, [asked(name, 6.0)], CAP)
        except BudgetError:
            continue
        won[number] += 1


def test_two_processes_race_for_the_last_node_hours_a_thousand_times(tmp_path):
    times = 1000
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    won = [spawn.Array("i", times) for _ in range(2)]
    racers = [
        spawn.Process(target=race, args=(str(tmp_path), barrier, name, times, mine))
        for name, mine in zip("ab", won, strict=True)
    ]
    for each in racers:
        each.start()
    for each in racers:
        each.join(300)
        assert each.exitcode == 0
    assert [a + b for a, b in zip(*won, strict=True)] == [1] * times
    assert min(sum(each) for each in won) > 0  # neither always wins
    totals = [reserved(Ledger(tmp_path / str(number))) for number in range(times)]
    assert totals == [6.0] * times


def paused(root, begun):
    """Reserve, but stand still between the look and the deed until the lease is lost."""
    look = guard.check

    def slow(ledger, site, new_node_hours, *more, **until):
        look(ledger, site, new_node_hours, *more, **until)
        if new_node_hours:
            begun.set()
            time.sleep(2)

    guard.check = slow
    try:
        reserve(Ledger(Path(root)), [asked("paused", 6.0)], CAP)
    except BudgetError:
        os._exit(7)


def test_who_was_paused_beyond_its_lease_takes_its_reservation_back(tmp_path, monkeypatch):
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    slow = spawn.Process(target=paused, args=(str(tmp_path), begun))
    slow.start()
    assert begun.wait(60)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.3)
    reserve(Ledger(tmp_path), [asked("quick", 6.0)], CAP)
    slow.join(60)
    assert slow.exitcode == 7
    ledger = Ledger(tmp_path)
    assert reserved(ledger) == 6.0
    assert ledger.accounts()["paused"].state == "released"


def test_a_killed_holder_holds_nobody_up_for_longer_than_its_lease(tmp_path, monkeypatch):
    (tmp_path / NAME).write_text("login07 4711\n")
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.3)
    reserve(Ledger(tmp_path), [asked("a", 6.0)], CAP)
    assert reserved(Ledger(tmp_path)) == 6.0


def test_a_lease_that_does_not_come_is_an_error_of_the_ledger(tmp_path, monkeypatch):
    def never(self):
        message = "held by login07 4711"
        raise LeaseError(message)

    monkeypatch.setattr(Ledger, "lease", never)
    with pytest.raises(LedgerError, match="held by login07 4711"):
        reserve(Ledger(tmp_path), [asked("a", 6.0)], CAP)
