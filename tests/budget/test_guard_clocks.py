"""The cap holds for any clocks: processes reserve by turns, are killed, and try again."""

import contextlib
import os
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.budget import guard
from pipeline.budget.guard import BudgetError, reserve
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record

CAP = 100.0
SKEWS = (-172_800.0, -600.0, 0.0, 600.0)


class Killed(BaseException):
    """What nobody catches, as nobody catches a kill -9."""


class PausingLedger(Ledger):
    """Lets other processes go on before each record that is written and each look at the sums.

    Nobody has a lease: it was lost, or clocks made two believe that they have it.
    """

    def __init__(self, folder, pause):
        super().__init__(folder)
        self.pause = pause

    def lease(self):
        return nullcontext()

    def append(self, record):
        self.pause()
        return super().append(record)

    def totals(self, *until):
        self.pause()
        return super().totals(*until)


class Reserving(threading.Thread):
    """A process that reserves; if it comes to its end without a refusal it submits its job."""

    def __init__(self, folder, key, hours, skew):
        super().__init__(daemon=True)
        self.key, self.hours, self.skew = key, hours, skew
        self.ledger = PausingLedger(folder, self.pause)
        self.turn, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.is_killed = self.is_over = self.is_submitted = False
        self.start()

    def run(self):
        self.turn.acquire()
        wanted = Record(
            kind=Kind.RESERVE,
            time=1e9 + self.skew,
            site="here",
            stage="pretrain",
            task=self.key,
            job_key=self.key,
            node_hours=self.hours,
        )
        with contextlib.suppress(BudgetError, Killed):
            reserve(self.ledger, [wanted], CAP)
            self.is_submitted = True
        self.is_over = True
        self.done.release()

    def pause(self):
        self.done.release()
        self.turn.acquire()
        if self.is_killed:
            raise Killed

    def go_on(self, *, killed):
        """Go on to the next pause, or be killed here."""
        self.is_killed = killed
        self.turn.release()
        self.done.acquire()


@settings(max_examples=150)
@given(st.data())
def test_a_job_of_60_is_never_submitted_beside_one_of_50_under_a_cap_of_100(data):
    hours = data.draw(st.permutations([60.0, 50.0, 40.0]))[: data.draw(st.integers(2, 3))]
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        folder = Path(root) / "ledger"
        patch.setattr(os, "fsync", lambda _: None)
        skewed = lambda: 1e9 + getattr(threading.current_thread(), "skew", 0.0)  # noqa: E731
        patch.setattr(guard.clock, "time", skewed)

        def begun(key, wanted):
            return Reserving(folder, key, wanted, data.draw(st.sampled_from(SKEWS)))

        going = [begun(f"m{number}", each) for number, each in enumerate(hours)]
        submitted, tries = 0.0, 0
        while going:
            each = going[data.draw(st.integers(0, len(going) - 1))]
            each.go_on(killed=data.draw(st.integers(0, 9)) == 0)
            if not each.is_over:
                continue
            each.join()
            going.remove(each)
            submitted += each.hours * each.is_submitted
            if not each.is_submitted and tries < 4:
                tries += 1
                going.append(begun(each.key, each.hours))
        assert submitted <= CAP
        total = Ledger(folder).totals().get("here")
        assert (total.reserved_node_hours if total else 0.0) >= submitted
