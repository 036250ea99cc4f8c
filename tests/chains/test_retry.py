"""What class the end of a link has, and what its chain does next: the whole table."""

import pytest

from pipeline.chains.retry import Ended, ends, outcome, too_many
from pipeline.job import JobStatus, State
from pipeline.run import Exit

HOURS = "another link would waste hours"


def status(state, exit_code=None):
    """How the scheduler says that a job ended."""
    return JobStatus(id="7", key="k", state=state, exit_code=exit_code)


@pytest.mark.parametrize(
    ("state", "exit_code", "recorded", "expected"),
    [
        # what the cause recorded comes first
        (State.FAILED, 86, "diverged", "diverged"),
        (State.FAILED, 1, "out_of_memory", "out_of_memory"),
        (State.TIMEOUT, None, "hang", "hang"),
        (State.CANCELLED, None, "hang", "hang"),
        (State.FAILED, 75, "damaged", "damaged"),
        (State.FAILED, 73, "disk_full", "disk_full"),
        # an echo does not: then the scheduler speaks
        (State.NODE_FAIL, None, "peer_lost", "node_fail"),
        (State.OUT_OF_MEMORY, 137, "peer_lost", "out_of_memory"),
        (State.FAILED, 137, "peer_lost", "killed"),
        (State.FAILED, 89, "peer_lost", "peer_lost"),
        (State.FAILED, 1, "error", "error"),
        # nothing recorded
        (State.TIMEOUT, None, "", "timeout"),
        (State.PREEMPTED, None, "", "preempted"),
        (State.NODE_FAIL, None, "", "node_fail"),
        (State.CANCELLED, None, "", "cancelled"),
        (State.UNKNOWN, None, "", "lost"),
        (State.FAILED, None, "", "killed"),
        (State.FAILED, 137, "", "killed"),
        (State.FAILED, 143, "", "killed"),
        (State.FAILED, Exit.CONTINUE, "", "continue"),
        (State.FAILED, Exit.DIVERGED, "", "diverged"),
        (State.FAILED, Exit.HANG, "", "hang"),
        (State.FAILED, Exit.OUT_OF_MEMORY, "", "out_of_memory"),
        (State.FAILED, Exit.BAD_INPUT, "", "bad_input"),
        (State.FAILED, Exit.CANNOT_WRITE, "", "cannot_write"),
        (State.FAILED, Exit.BUSY, "", "busy"),
        (State.FAILED, Exit.USAGE, "", "usage"),
        (State.FAILED, 1, "", "error"),
        (State.FAILED, 42, "", "error"),
        (State.COMPLETED, 0, "", "error"),
    ],
)
def test_the_class_of_an_end(state, exit_code, recorded, expected):
    result = {"outcome": recorded, "message": "…"} if recorded else None
    assert outcome(status(state, exit_code), result) == expected


def test_silence_before_the_end_is_a_hang_unless_something_else_was_recorded():
    failed = status(State.FAILED, 1)
    assert outcome(failed, None, hung=True) == "hang"
    assert outcome(failed, {"outcome": "bad_input"}, hung=True) == "bad_input"


GO_ON = ["continue", "timeout", "preempted", "node_fail", "killed", "peer_lost", "hang"]
END = [
    *("diverged", "out_of_memory", "bad_input", "damaged", "disk_full", "cannot_write", "usage"),
    *("busy", "cancelled", "lost", "error"),
]


@pytest.mark.parametrize("name", GO_ON)
def test_these_are_continued_where_there_was_progress(name):
    assert ends([Ended("continue", True), Ended(name, True)]) == ""


@pytest.mark.parametrize("name", END)
def test_these_end_the_chain_at_once_whatever_there_was(name):
    assert ends([Ended("continue", True), Ended(name, True)]) == name


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ([Ended("preempted", False)], ""),
        ([Ended("node_fail", False)], ""),
        ([Ended("killed", False)], ""),
        ([Ended("hang", False)], ""),
        ([Ended("hang", True), Ended("continue", True), Ended("hang", True)], ""),
        ([Ended("hang", True), Ended("hang", True)], "hang, twice in a row"),
        ([Ended("hang", False), Ended("hang", False)], "hang, twice in a row"),
        ([Ended("timeout", False)], f"timeout without a new checkpoint; {HOURS}"),
        (
            [Ended("killed", False), Ended("preempted", False)],
            "preempted, and no new checkpoint in two links; another would waste hours",
        ),
        ([Ended("killed", False), Ended("preempted", True), Ended("killed", False)], ""),
    ],
)
def test_hangs_and_links_without_progress_are_counted(links, reason):
    assert ends(links) == reason


def test_a_chain_has_so_many_links_at_most():
    links = [Ended("timeout", progressed=True)] * 3
    assert too_many(links, at_most=4) == ""
    told = too_many([*links, Ended("continue", progressed=True)], at_most=4)
    assert told == "continue, after 4 links, which are by far more than were planned"


def test_links_that_others_pushed_out_are_not_counted():
    pushed = [Ended("preempted", progressed=True)] * 50
    assert too_many(pushed, at_most=4) == ""
    idle = [Ended("preempted", progressed=False)] * 4
    assert too_many(idle, at_most=4)
