"""Charges worked by hand from the sites' policy pages, of single jobs and of what sacct says.

Perlmutter: nodes × hours × the factor of the queue, of whole nodes or a fraction in the shared
queue; Frontier and Polaris: nodes × hours. Sources are in the site files.
"""

from datetime import UTC, datetime

import pytest

from pipeline.budget.cost import node_hours
from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.job import JobHandle
from pipeline.scheduler import accounting
from pipeline.scheduler.rows import matched
from pipeline.site import Role, load_site

HOUR = 3600
CASES = [
    # Perlmutter, regular: in full, half of it from 128 GPU or 256 CPU nodes on.
    ("perlmutter", "gpu", "regular", 1, 1 * HOUR, 1.0),
    ("perlmutter", "gpu", "regular", 4, 30 * 60, 2.0),
    ("perlmutter", "gpu", "regular", 16, 72 * HOUR, 1152.0),
    ("perlmutter", "gpu", "regular", 1, 1, 1 / 3600),
    ("perlmutter", "gpu", "regular", 3, 0, 0.0),
    ("perlmutter", "gpu", "regular", 127, 2 * HOUR, 254.0),
    ("perlmutter", "gpu", "regular", 128, 2 * HOUR, 128.0),
    ("perlmutter", "gpu", "regular", 129, 2 * HOUR, 129.0),
    ("perlmutter", "gpu80", "regular", 128, 1 * HOUR, 64.0),
    ("perlmutter", "gpu80", "regular", 64, 1 * HOUR, 64.0),
    ("perlmutter", "cpu", "regular", 128, 1 * HOUR, 128.0),
    ("perlmutter", "cpu", "regular", 255, 1 * HOUR, 255.0),
    ("perlmutter", "cpu", "regular", 256, 1 * HOUR, 128.0),
    # A share of a node: a GPU of four, two of four.
    ("perlmutter", "gpu", "regular", 0.25, 10 * HOUR, 2.5),
    ("perlmutter", "gpu", "regular", 0.5, 10 * HOUR, 5.0),
    ("perlmutter", "cpu", "regular", 1 / 64, 64 * HOUR, 1.0),
    # debug: in full, at any size.
    ("perlmutter", "gpu", "debug", 8, 30 * 60, 4.0),
    ("perlmutter", "gpu", "debug", 1, 90, 0.025),
    # preempt: two hours in full, then a quarter on GPU nodes, half on CPU nodes.
    ("perlmutter", "gpu", "preempt", 1, 1 * HOUR, 1.0),
    ("perlmutter", "gpu", "preempt", 1, 2 * HOUR, 2.0),
    ("perlmutter", "gpu", "preempt", 1, 2 * HOUR + 4, 2.0 + 1 / 3600),
    ("perlmutter", "gpu", "preempt", 1, 6 * HOUR, 3.0),
    ("perlmutter", "gpu", "preempt", 16, 5 * HOUR, 44.0),
    ("perlmutter", "gpu", "preempt", 128, 48 * HOUR, 128 * (2 + 46 / 4)),
    ("perlmutter", "gpu80", "preempt", 2, 10 * HOUR, 8.0),
    ("perlmutter", "cpu", "preempt", 1, 6 * HOUR, 4.0),
    ("perlmutter", "cpu", "preempt", 10, 3 * HOUR, 25.0),
    ("perlmutter", "gpu", "preempt", 0.25, 6 * HOUR, 0.75),
    # premium: twice, and no discount for size.
    ("perlmutter", "gpu", "premium", 1, 1 * HOUR, 2.0),
    ("perlmutter", "gpu", "premium", 128, 1 * HOUR, 256.0),
    ("perlmutter", "cpu", "premium", 2, 30 * 60, 2.0),
    # overrun: nothing.
    ("perlmutter", "gpu", "overrun", 64, 4 * HOUR, 0.0),
    # Frontier: every bin and queue in full.
    ("frontier", "gpu", "", 1, 2 * HOUR, 2.0),
    ("frontier", "gpu", "", 91, 2 * HOUR, 182.0),
    ("frontier", "gpu", "", 92, 6 * HOUR, 552.0),
    ("frontier", "gpu", "", 183, 6 * HOUR, 1098.0),
    ("frontier", "gpu", "", 184, 12 * HOUR, 2208.0),
    ("frontier", "gpu", "", 5645, 12 * HOUR, 67740.0),
    ("frontier", "gpu", "", 8, 72 * HOUR, 576.0),
    ("frontier", "gpu", "debug", 10, 2 * HOUR, 20.0),
    ("frontier", "gpu", "extended", 64, 24 * HOUR, 1536.0),
    # Polaris: in full.
    ("polaris", "gpu", "prod", 10, 3 * HOUR, 30.0),
    ("polaris", "gpu", "debug", 2, 1 * HOUR, 2.0),
    ("polaris", "gpu", "preemptable", 10, 72 * HOUR, 720.0),
    ("polaris", "gpu", "capacity", 4, 168 * HOUR, 672.0),
]


@pytest.mark.parametrize(("site", "node", "qos", "nodes", "seconds", "expected"), CASES)
def test_a_job_is_charged_as_worked_by_hand(site, node, qos, nodes, seconds, expected):
    where = load_site(site)
    node = node if node in where.nodes else where.training.node
    charged = node_hours(where, Role(node=node, qos=qos), nodes=nodes, seconds=seconds)
    assert charged == pytest.approx(expected, rel=1e-12)


def moment(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def row(state, seconds, nodes, start, end, code="0:0", name="m0-1"):
    times = [moment(each) if each[0].isdigit() else each for each in (start, end)]
    submit = times[0] if isinstance(times[0], int) else 100
    return (
        f"71|{state}|{seconds}|{nodes}|{submit}|{times[0]}|{times[1]}|{code}|nid1|0|00:00:00|{name}"
    )


NIGHT = ("2026-11-24T23:00:00", "2026-11-25T02:00:00")
BEFORE = ("2026-11-24T10:00:00", "2026-11-24T13:00:00")
JOBS = [
    ("over midnight", "regular", [row("COMPLETED", 3 * HOUR, 4, *NIGHT)], 12.0),
    ("failed", "regular", [row("FAILED", 3 * HOUR, 4, *NIGHT, "1:0")], 12.0),
    ("killed at its walltime", "regular", [row("TIMEOUT", 3 * HOUR, 4, *NIGHT)], 12.0),
    ("a node failed", "regular", [row("NODE_FAIL", 3 * HOUR, 4, *NIGHT)], 12.0),
    (
        "cancelled as it ran",
        "regular",
        [row("CANCELLED by 1000", 3 * HOUR, 4, *NIGHT)],
        12.0,
    ),
    ("cancelled as it waited", "regular", [row("CANCELLED by 1000", 0, 4, "None", NIGHT[1])], 0.0),
    (
        "requeued",
        "regular",
        [row("NODE_FAIL", 3 * HOUR, 2, *BEFORE), row("COMPLETED", 3 * HOUR, 2, *NIGHT)],
        12.0,
    ),
    # Each time that it ran it pays two hours in full: 2 × (2 + 1 × 0.25), and not 2 + 4 × 0.25.
    (
        "pushed out, and run again",
        "preempt",
        [row("PREEMPTED", 3 * HOUR, 1, *BEFORE), row("COMPLETED", 3 * HOUR, 1, *NIGHT)],
        4.5,
    ),
    # Ids are used again, and accounting remembers both jobs: 100 nodes for 10 hours are not ours.
    (
        "another job had its id",
        "regular",
        [
            row("COMPLETED", 10 * HOUR, 100, *BEFORE, name="my-other-simulation"),
            row("COMPLETED", 3 * HOUR, 4, *NIGHT),
        ],
        12.0,
    ),
    ("no end record", "regular", [row("NODE_FAIL", 3 * HOUR, 4, NIGHT[0], "Unknown")], 12.0),
]


def charged(tmp_path, site, qos, rows):
    """The account of a job of which sacct prints `rows`."""
    ledger = Ledger(tmp_path)
    ledger.append(
        Record(
            kind=Kind.RESERVE,
            time=1,
            site=site.name,
            stage="pretrain",
            task="pretrain/m0",
            job_key="m0-1",
            node_hours=99,
            nodes=4,
        )
    )
    job = JobHandle("71", "m0-1", since=1)
    status = matched([job], accounting.from_accounting(rows))[job]
    role = Role(node=site.training.node, qos=qos)
    reconcile(ledger, {"m0-1": status}, site, lambda _: role)
    return ledger.accounts()["m0-1"]


@pytest.mark.parametrize(
    ("qos", "rows", "expected"), [job[1:] for job in JOBS], ids=[j[0] for j in JOBS]
)
def test_what_sacct_says_is_charged_as_worked_by_hand(tmp_path, qos, rows, expected):
    account = charged(tmp_path, load_site("perlmutter"), qos, rows)
    assert account.charged_node_hours == expected
    assert account.reserved_node_hours == 0


def test_a_job_without_an_end_record_costs_nothing_on_frontier(tmp_path):
    lost = [row("NODE_FAIL", 3 * HOUR, 4, NIGHT[0], "Unknown")]
    assert charged(tmp_path, load_site("frontier"), "", lost).charged_node_hours == 0


def test_a_job_that_still_runs_is_not_charged_yet(tmp_path):
    running = [row("RUNNING", 3 * HOUR, 4, NIGHT[0], "Unknown")]
    account = charged(tmp_path, load_site("perlmutter"), "regular", running)
    assert (account.charged_node_hours, account.reserved_node_hours) == (0, 99)
