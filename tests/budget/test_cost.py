from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.budget.cost import node_hours
from pipeline.site import Charge, NodeClass, Pilot, Qos, Role, Site, load_site

HOUR = 3600
PREEMPT = Role(node="gpu", qos="preempt")
REGULAR = Role(node="gpu", qos="regular")
BARE = Role(node="gpu")


def machine():
    preempt = (Charge(factor=1.0), Charge(factor=0.25, after_minutes=120))
    regular = (Charge(factor=1.0), Charge(factor=0.5, from_nodes=128))
    return Site(
        name="machine",
        title="Machine",
        as_of=date(2026, 11, 1),
        scheduler="slurm",
        accelerator="cuda",
        nodes={"gpu": NodeClass(devices=4, cpus_per_device=32)},
        qos={
            "preempt": Qos(max_minutes=2880, charge=preempt),
            "regular": Qos(max_minutes=2880, charge=regular),
            "late": Qos(max_minutes=60, charge=(Charge(factor=0.0, after_minutes=30),)),
            "large": Qos(max_minutes=60, charge=(Charge(factor=2.0, from_nodes=64),)),
        },
        training=PREEMPT,
        pilot=Pilot(role=BARE, workers_per_node=1, walltime_minutes=10),
    )


@pytest.mark.parametrize(
    ("node", "qos", "nodes", "hours", "expected"),
    [
        ("gpu", "preempt", 1, 6, 2 + 4 * 0.25),
        ("gpu80", "preempt", 1, 6, 2 + 4 * 0.25),
        ("cpu", "preempt", 1, 6, 2 + 4 * 0.5),
        ("gpu", "regular", 128, 1, 64),
        ("cpu", "regular", 128, 1, 128),
        ("cpu", "regular", 256, 1, 128),
        ("gpu", "overrun", 4, 4, 0),
    ],
)
def test_perlmutter_s_discounts_are_by_kind_of_node(node, qos, nodes, hours, expected):
    role = Role(node=node, qos=qos)
    assert node_hours(load_site("perlmutter"), role, nodes=nodes, seconds=hours * HOUR) == expected


def test_preempt_costs_full_for_two_hours_and_a_quarter_after():
    assert node_hours(machine(), PREEMPT, nodes=16, seconds=5 * HOUR) == 44
    assert node_hours(machine(), PREEMPT, nodes=16, seconds=1 * HOUR) == 16


@pytest.mark.parametrize(("nodes", "expected"), [(127, 127), (128, 64), (256, 128)])
def test_the_discount_begins_at_128_nodes(nodes, expected):
    assert node_hours(machine(), REGULAR, nodes=nodes, seconds=HOUR) == expected


def test_a_shared_node_costs_its_fraction():
    assert node_hours(machine(), REGULAR, nodes=0.25, seconds=HOUR) == 0.25


def test_no_queue_is_charged_in_full():
    assert node_hours(machine(), BARE, nodes=2, seconds=90) == pytest.approx(0.05)


def test_what_no_piece_covers_is_charged_in_full():
    late, large = Role(node="gpu", qos="late"), Role(node="gpu", qos="large")
    assert node_hours(machine(), late, nodes=1, seconds=HOUR) == 0.5
    assert node_hours(machine(), large, nodes=10, seconds=HOUR) == 10
    assert node_hours(machine(), large, nodes=64, seconds=HOUR) == 128


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match=r"machine: 1 nodes for -1 s cannot be charged"):
        node_hours(machine(), BARE, nodes=1, seconds=-1)


@given(
    st.floats(0.1, 2000), st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from([PREEMPT, REGULAR])
)
def test_a_longer_job_never_costs_less(nodes, seconds, more, role):
    short = node_hours(machine(), role, nodes=nodes, seconds=seconds)
    assert node_hours(machine(), role, nodes=nodes, seconds=seconds + more) >= short
