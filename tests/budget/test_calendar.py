"""Where the days of a campaign went."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.attendance import Life
from pipeline.budget.account import Account
from pipeline.budget.calendar import ABSENT, HELD, KINDS, QUEUED, RUNNING, Span, days, spans


def job(since, start=None, end=None, job_id="7"):
    return Account(
        site="here",
        stage="pretrain",
        task="pretrain/m0",
        job_key="m0-1",
        job_id=job_id,
        nodes=1,
        reserved_node_hours=0,
        charged_node_hours=0,
        seconds=0,
        start=start,
        end=end,
        state="",
        since=since,
    )


def life(began, seen):
    return Life(began, seen, "ada", "login01")


def found(accounts, lives, until):
    return [(each.begin, each.end, each.what) for each in spans(accounts, lives, until)]


def test_a_campaign_that_waits_runs_and_is_forgotten():
    assert found([job(10, 30, 50)], [life(0, 60)], 100) == [
        (0, 10, HELD),
        (10, 30, QUEUED),
        (30, 50, RUNNING),
        (50, 60, HELD),
        (60, 100, ABSENT),
    ]


def test_what_runs_counts_before_what_waits():
    jobs = [job(0, 10, 40), job(5, 30, 50), job(20)]
    assert found(jobs, [life(0, 5)], 60) == [(0, 10, QUEUED), (10, 50, RUNNING), (50, 60, QUEUED)]


def test_a_chain_goes_on_though_its_controller_is_dead():
    assert found([job(0, 10, 90)], [life(0, 5)], 90)[-1] == (10, 90, RUNNING)


def test_a_job_that_was_never_submitted_does_not_wait():
    assert found([job(0, job_id="")], [], 50) == []


def test_sums_and_the_longest_stretch():
    rows = days(spans([job(10, 30, 50)], [life(0, 20), life(80, 90)], 100))
    (ran, waited, held, absent) = rows
    assert [row.what for row in rows] == list(KINDS)
    assert (ran.seconds, waited.seconds, held.seconds, absent.seconds) == (20, 20, 20, 40)
    assert absent.longest == Span(50, 80, ABSENT)
    assert sum(row.share for row in rows) == pytest.approx(1)


moments = st.floats(0, 1000)
jobs = st.builds(
    lambda times, over: job(*sorted(times)[: 3 if over else 2]),
    st.tuples(*3 * [moments]),
    st.booleans(),
)
lived = st.builds(lambda times: life(*sorted(times)), st.tuples(moments, moments))


@given(accounts=st.lists(jobs, max_size=6), lives=st.lists(lived, max_size=4))
def test_every_moment_is_of_one_kind(accounts, lives):
    pieces = spans(accounts, lives, 1000)
    assert all(each.end > each.begin for each in pieces)
    for one, two in pairwise(pieces):
        assert one.end == two.begin
        assert one.what != two.what
    for each in pieces:
        middle = (each.begin + each.end) / 2
        runs = any(
            a.start is not None and a.start < middle < (1000 if a.end is None else a.end)
            for a in accounts
        )
        assert (each.what == RUNNING) == runs
    begins = [a.since for a in accounts] + [one.began for one in lives]
    if pieces:
        assert (pieces[0].begin, pieces[-1].end) == (min(begins), 1000)
