import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.budget.account import Account, replay
from pipeline.budget.record import BY_ITS_LINK, Kind, Record
from pipeline.job import JobHandle, State


def record(kind, when, **more):
    fields = {"site": "here", "stage": "pretrain", "task": "pretrain/m0", "job_key": "m0-1"}
    return Record(kind=kind, time=when, **(fields | more))


RESERVE = record(Kind.RESERVE, 1, nodes=2, node_hours=4)
SUBMIT = record(Kind.SUBMIT, 2, job_id="71")
START = record(Kind.START, 3)
END = record(Kind.END, 9, seconds=6, nodes=2, node_hours=0.5, state=State.COMPLETED)
RELEASE = record(Kind.RELEASE, 3)
LIFE = [RESERVE, SUBMIT, START, END]


@pytest.mark.parametrize(
    ("records", "state", "reserved", "charged"),
    [
        ([RESERVE], "reserved", 4, 0),
        ([RESERVE, SUBMIT], "submitted", 4, 0),
        ([RESERVE, SUBMIT, START], "running", 4, 0),
        (LIFE, "completed", 0, 0.5),
        ([RESERVE, RELEASE], "released", 0, 0),
        ([RESERVE, RELEASE, RESERVE.model_copy(update={"time": 4.0})], "reserved", 4, 0),
        ([END.model_copy(update={"state": None})], "ended", 0, 0.5),
    ],
)
def test_the_state_follows_the_records(records, state, reserved, charged):
    account = replay(records)
    assert account.state == state
    assert account.reserved_node_hours == reserved
    assert account.charged_node_hours == charged


def test_an_ended_job_tells_its_whole_life():
    assert replay(LIFE) == Account(
        site="here",
        stage="pretrain",
        task="pretrain/m0",
        job_key="m0-1",
        job_id="71",
        nodes=2,
        reserved_node_hours=0,
        charged_node_hours=0.5,
        seconds=6,
        start=3,
        end=9,
        state="completed",
        since=1,
    )


def test_the_scheduler_knows_a_job_by_its_id_its_name_and_when_it_may_have_been_submitted():
    assert replay(LIFE).handle == JobHandle("71", "m0-1", since=1)
    part = [each.model_copy(update={"batch_key": "bundle-1"}) for each in LIFE]
    assert replay(part).handle == JobHandle("71", "bundle-1", since=1)
    twin = [each.model_copy(update={"job_key": "m0-1+72", "job_id": "72"}) for each in LIFE[1:]]
    assert replay(twin).handle == JobHandle("72", "m0-1", since=2)


def test_a_reconcile_replaces_what_the_end_said():
    truth = record(Kind.RECONCILE, 50, seconds=8, nodes=2, node_hours=0.7, state=State.TIMEOUT)
    account = replay([*LIFE, truth])
    assert (account.seconds, account.charged_node_hours, account.state) == (8, 0.7, "timeout")
    assert account.end == 9


def test_the_last_end_counts():
    later = END.model_copy(update={"time": 11.0, "node_hours": 0.6})
    assert replay([*LIFE, later]).charged_node_hours == 0.6


def test_an_end_that_accounting_dates_before_the_submission_still_ends_the_job():
    early = END.model_copy(update={"time": 1.5})
    assert replay([RESERVE, early, SUBMIT]).state == "completed"


@given(st.lists(st.sampled_from(LIFE), max_size=8), st.randoms())
def test_saying_a_thing_again_changes_nothing_whatever_the_clocks_say(again, random):
    skewed = [each.model_copy(update={"time": random.uniform(0, 1e9)}) for each in again]
    found = replay([*LIFE, *skewed])
    assert (found.state, found.charged_node_hours, found.job_id, found.since) == (
        *(replay(LIFE).state, replay(LIFE).charged_node_hours),
        *(replay(LIFE).job_id, replay(LIFE).since),
    )


def test_of_an_end_and_a_correction_the_one_recorded_later_counts():
    early = END.model_copy(update={"kind": Kind.RECONCILE, "time": 0.5, "node_hours": 0.25})
    assert replay([*LIFE, early]).charged_node_hours == 0.25
    assert replay([early, *LIFE]).charged_node_hours == END.node_hours


def test_the_end_that_a_link_knew_itself_keeps_the_rest_of_its_reservation():
    mine = END.model_copy(update={"note": BY_ITS_LINK})
    account = replay([RESERVE, SUBMIT, mine])
    assert account.provisional
    held = account.charged_node_hours + account.reserved_node_hours
    assert held == max(RESERVE.node_hours, END.node_hours)
    sure = replay([RESERVE, SUBMIT, mine, END.model_copy(update={"kind": Kind.RECONCILE})])
    assert (sure.provisional, sure.reserved_node_hours) == (False, 0.0)
