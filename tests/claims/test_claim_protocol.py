"""Two or three processes that stop, go on and die at any moment never write one product by turns.

Each runs the real code in a thread of its own, and pauses before every operation on a file; which
one goes on, and how much time passes meanwhile, is drawn. All are on different machines, with
monotonic clocks that agree on nothing but the length of a second.
"""

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pipeline.claims import detecting, files, holding
from pipeline.claims.detecting import BEATS, SILENT_SECONDS
from pipeline.claims.process import Holder
from pipeline.outcome import BusyError

BEAT = SILENT_SECONDS / BEATS
# How long a process may be stopped between a look-up and what follows it; see pipeline.claims.
ACT_SECONDS, RECENT_ACT_SECONDS = holding.RECENT_BEATS * BEAT, BEAT / 4
HERE = threading.local()


class Killed(BaseException):
    """What nobody catches, as nobody catches a kill -9."""


class PausingPath(type(Path())):  # type: ignore[misc]
    """A path at which a process pauses before the system sees it."""

    def __fspath__(self):
        process = getattr(HERE, "process", None)
        if process is not None:
            process.pause()
        return super().__fspath__()


class Process(threading.Thread):
    """One process: it takes the claim, writes a few times, and lets it go."""

    def __init__(self, world, number, rate):
        super().__init__(daemon=True)
        self.world, self.host, self.rate = world, f"login{number:02d}", rate
        self.turn, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.is_killed = self.is_over = False
        self.wakes = 0.0
        self.must_act_by = None
        self.start()
        self.done.acquire()

    def run(self):
        HERE.process = self
        try:
            self.pause()
            self.work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the machine raises it
            self.world.errors.append(error)
        self.is_over = True
        self.must_act_by = None
        self.done.release()

    def work(self):
        claim = self.acquired()
        for count in range(20):
            self.must_act_by = self.world.now + ACT_SECONDS
            if not claim.beat(count):
                return
            self.write(claim)
            self.sleep(BEAT / 2)
            self.must_act_by = self.world.now + RECENT_ACT_SECONDS
            if claim.is_recent:  # a line of metrics at a step
                self.write(claim)
            self.must_act_by = None
            self.sleep(BEAT / 2)
        if claim.is_held:
            files.release(self.world.folder, claim.number)

    def acquired(self):
        while True:
            try:
                return holding._acquire(self.world.folder, "", lambda _: False, lambda _: None)
            except BusyError:
                self.sleep(1.0)

    def write(self, claim):
        self.pause()
        self.world.product.append((claim.number, self.host))
        self.must_act_by = None

    def pause(self):
        """Let another process go on; come back when it is this one's turn."""
        if self.is_killed:
            raise Killed
        self.done.release()
        self.turn.acquire()
        if self.is_killed:
            raise Killed

    def sleep(self, seconds):
        self.wakes = self.world.now + seconds / self.rate
        while self.world.now < self.wakes:
            self.pause()

    def monotonic(self):
        return 1e6 * len(self.host) + self.world.now * self.rate

    def go_on(self):
        """Give it one turn, if it is not asleep."""
        if not self.is_over and (self.world.now >= self.wakes or self.is_killed):
            self.turn.release()
            self.done.acquire()

    def kill(self):
        self.is_killed = True
        while not self.is_over:
            self.go_on()
        self.join()


class Clock:
    """What stands in for `pipeline.clock`: each process has its own."""

    @staticmethod
    def monotonic():
        return HERE.process.monotonic()

    @staticmethod
    def sleep(seconds):
        HERE.process.sleep(seconds)


class Holders(RuleBasedStateMachine):
    """Up to three processes, and the time."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(detecting, "clock", Clock)
        self.patch.setattr(holding, "clock", Clock)
        self.patch.setattr(holding, "_now", Clock.monotonic)
        self.patch.setattr(Holder, "of", lambda _: Holder(HERE.process.host, 1, 1))
        self.patch.setattr(os, "fsync", lambda _: None)  # no machine crashes here
        self.root = tempfile.TemporaryDirectory()
        self.folder = PausingPath(self.root.name) / "task" / "claim"
        self.now, self.count = 1000.0, 0
        self.processes, self.product, self.errors = [], [], []

    def begin(self, rate=1.0):
        self.count += 1
        self.processes.append(Process(self, self.count, rate))

    @initialize(turns=st.integers(0, 40), looks=st.integers(54, 62))
    def one_is_about_to_be_taken_over(self, turns, looks):
        """The first is stopped at any moment, and the second has watched it for long."""
        self.begin()
        while not self.product:
            self.processes[0].go_on()
        for _ in range(turns):
            self.advance(1.0)
            self.processes[0].go_on()
        self.begin()
        for _ in range(looks):
            self.one_goes_on_alone(1, 30)
            self.advance(SILENT_SECONDS / detecting.LOOKS)

    @precondition(lambda self: len(self.processes) < 3)
    @rule(rate=st.sampled_from([0.999, 1.0, 1.001]))
    def another_begins(self, rate):
        self.begin(rate)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 2), turns=st.sampled_from([1, 2, 3, 5, 8, 30]))
    def one_goes_on_alone(self, which, turns):
        for _ in range(turns):
            self.processes[which % len(self.processes)].go_on()
        self.check()

    @precondition(lambda self: self.processes)
    @rule(
        beats=st.sampled_from([1, 3, BEATS + 1, BEATS + 3]),
        running=st.sets(st.integers(0, 2), min_size=1, max_size=2),
    )
    def some_run_while_the_others_are_stopped(self, beats, running):
        for _ in range(beats * 8):
            self.advance(BEAT / 8)
            for number, process in enumerate(self.processes):
                if number in running:
                    for _ in range(12):
                        process.go_on()
        self.check()

    @rule(seconds=st.sampled_from([1.0, BEAT, 2 * BEAT, 3 * SILENT_SECONDS]))
    def all_are_stopped(self, seconds):
        self.advance(seconds)
        self.check()

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 2), tears=st.booleans())
    def one_dies(self, which, tears):
        """Its node may crash with it, and leave what it wrote last empty."""
        process = self.processes.pop(which % len(self.processes))
        process.kill()
        newest = max(Path(self.root.name).glob("task/claim/*.json"), default=None)
        if tears and newest is not None and process.host in newest.read_text():
            newest.write_text("")
        self.check()

    def advance(self, seconds):
        """Let time pass; nobody is stopped for longer between a look-up and what follows it."""
        until = self.now + seconds
        while True:
            due = [each for each in self.processes if each.must_act_by is not None]
            first = min(due, key=lambda each: each.must_act_by, default=None)
            if first is None or first.must_act_by > until:
                break
            self.now = max(self.now, min(first.must_act_by, until))
            while first.must_act_by is not None and first.must_act_by <= until:
                first.go_on()
        self.now = until

    def check(self):
        """Each number is of one process, and none writes once a later one has."""
        self.processes = [each for each in self.processes if not each.is_over]
        assert self.errors == []
        numbers = [number for number, _ in self.product]
        assert numbers == sorted(numbers), self.product
        assert len(set(self.product)) == len(set(numbers)), self.product

    def teardown(self):
        """All die; whoever comes then works, after the silent time at most."""
        try:
            for process in self.processes:
                process.kill()
            self.processes = []
            before, began = len(self.product), self.now
            self.begin()
            while self.processes and len(self.product) == before:
                self.some_run_while_the_others_are_stopped(1, {0})
                assert self.now - began < 1.5 * SILENT_SECONDS
            assert len(self.product) > before
        finally:
            for process in self.processes:
                process.kill()
            self.patch.undo()
            self.root.cleanup()


Holders.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_one_product_has_one_writer_at_a_time = Holders.TestCase
