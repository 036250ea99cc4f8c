"""What class the end of a link has, and what its chain does next: the whole table."""

import pytest

from pipeline.chains.retry import LinkEnd, outcome_of, over_limit, reason_to_end
from pipeline.job import JobStatus, State
from pipeline.outcome import Exit

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
        (State.FAILED, 75, "unusable", "unusable"),
        (State.FAILED, 73, "disk_full", "disk_full"),
        (State.FAILED, 74, "io_error", "io_error"),
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
        (State.FAILED, Exit.IO_ERROR, "", "io_error"),
        (State.FAILED, Exit.USAGE, "", "usage"),
        (State.FAILED, 1, "", "error"),
        (State.FAILED, 42, "", "error"),
        (State.COMPLETED, 0, "", "error"),
    ],
)
def test_the_class_of_an_end(state, exit_code, recorded, expected):
    assert outcome_of(status(state, exit_code), recorded) == expected


def test_silence_before_the_end_is_a_hang_unless_something_else_was_recorded():
    failed = status(State.FAILED, 1)
    assert outcome_of(failed, "", hung=True) == "hang"
    assert outcome_of(failed, "bad_input", hung=True) == "bad_input"


GO_ON = ["continue", "timeout", "preempted", "node_fail", "killed", "peer_lost", "hang", "io_error"]
END = [
    *("diverged", "out_of_memory", "bad_input", "unusable", "disk_full", "cannot_write", "usage"),
    *("busy", "cancelled", "error"),
]


@pytest.mark.parametrize("name", GO_ON)
def test_these_are_continued_where_there_was_progress(name):
    assert reason_to_end([LinkEnd("continue", True), LinkEnd(name, True)]) == ""


@pytest.mark.parametrize("name", END)
def test_these_end_the_chain_at_once_whatever_there_was(name):
    assert reason_to_end([LinkEnd("continue", True), LinkEnd(name, True)]) == name


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ([LinkEnd("preempted", False)], ""),
        ([LinkEnd("node_fail", False)], ""),
        ([LinkEnd("killed", False)], ""),
        ([LinkEnd("hang", False)], ""),
        ([LinkEnd("hang", True), LinkEnd("continue", True), LinkEnd("hang", True)], ""),
        ([LinkEnd("hang", True), LinkEnd("hang", True)], "hang, twice in a row"),
        ([LinkEnd("lost", False)], ""),
        ([LinkEnd("lost", False), LinkEnd("lost", False)], "lost, twice in a row"),
        ([LinkEnd("hang", False), LinkEnd("hang", False)], "hang, twice in a row"),
        ([LinkEnd("timeout", False)], f"timeout without a new checkpoint; {HOURS}"),
        (
            [LinkEnd("killed", False), LinkEnd("preempted", False)],
            "preempted, and no new checkpoint in two links; another would waste hours",
        ),
        ([LinkEnd("killed", False), LinkEnd("preempted", True), LinkEnd("killed", False)], ""),
    ],
)
def test_hangs_and_links_without_progress_are_counted(links, reason):
    assert reason_to_end(links) == reason


def test_a_chain_has_so_many_links_at_most():
    links = [LinkEnd("timeout", progressed=True)] * 3
    assert over_limit(links, at_most=4) == ""
    told = over_limit([*links, LinkEnd("continue", progressed=True)], at_most=4)
    assert told == "continue, after 4 links, which are by far more than were planned"


def test_links_that_others_pushed_out_are_not_counted():
    pushed = [LinkEnd("preempted", progressed=True)] * 50
    assert over_limit(pushed, at_most=4) == ""
    idle = [LinkEnd("preempted", progressed=False)] * 4
    assert over_limit(idle, at_most=4)
