"""The campaign of 58,134 node-hours: what is published, and what the rest comes to."""

import pytest

from pipeline.budget.estimate import estimate
from pipeline.campaign import load_campaign
from pipeline.planning.arithmetic import estimates, sums
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.run import Run
from pipeline.site import load_site


def planned(root, site):
    """The plan on a site whose nodes are to be had whole, and not shared by small trainings."""
    campaign, run = load_campaign("fm4npp"), Run(root, "fm4npp")
    where = load_site(site).model_copy(update={"packs": None})
    return make_plan(campaign.tasks(run, elsewhere=True), run, where, RunOptions(bundle="never"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return planned(tmp_path_factory.mktemp("plan"), "perlmutter")


def hours(plan, prefix):
    return [each.node_hours for each in plan.steps if each.task.key.startswith(prefix)]


def test_the_published_six_are_1558_hours_of_whole_nodes_of_four(plan):
    assert hours(plan, "pretrain/m") == [10, 12, 20, 64, 300, 1152]
    devices = [
        each.task.training.devices * each.task.training.walltime_minutes / 60
        for each in plan.steps
        if each.task.key.startswith("pretrain/m")
    ]
    assert sum(devices) == 6166  # GPU-hours of the paper


def test_they_are_800_hours_of_whole_nodes_of_eight_at_equal_time(tmp_path):
    assert hours(planned(tmp_path, "frontier"), "pretrain/m") == [10, 12, 20, 32, 150, 576]


def test_the_grid_is_nine_by_nine_and_asks_what_its_cost_model_says(plan):
    campaign = load_campaign("fm4npp")
    found = {k: e for k, e in estimates(plan, campaign).items() if k.startswith("pretrain/p")}
    assert len(found) == 81
    for key, each in found.items():
        assert each.required_mfu == pytest.approx(0.40, rel=0.05), key


def test_it_fits_what_the_slides_estimate_with_room_for_what_fails(plan):
    campaign = load_campaign("fm4npp")
    assert campaign.cap_node_hours == 58134
    assert 0.90 < plan.node_hours / campaign.cap_node_hours < 0.97
    told = sums(plan, estimates(plan, campaign), campaign.cap_node_hours)
    assert told.count == 87
    others = plan.node_hours - told.node_hours
    assert told.node_hours * told.room + others == pytest.approx(58134)


def test_an_estimate_is_flops_over_what_devices_sustain():
    campaign = load_campaign("fm4npp")
    model, training = campaign.models["m6"], campaign.pretrain.training_of("m6")
    node = load_site("perlmutter").nodes["gpu"]
    told = estimate(model, training, node, 856, None)
    assert told.flops == model.flops_per_point(856) * 856 * 12_800_000
    assert told.device_hours == pytest.approx(told.flops / (19.5e12 * 0.4) / 3600)
    assert (told.mfu, told.measured) == (0.4, False)
    assert told.declared_device_hours == 64 * 72
    assert told.required_mfu * told.declared_device_hours == pytest.approx(0.4 * told.device_hours)
    measured = estimate(model, training, node, 856, 0.2)
    assert measured.device_hours == pytest.approx(2 * told.device_hours)
    assert measured.required_mfu == pytest.approx(told.required_mfu)
    assert estimate(model, training, load_site("local").nodes["laptop"], 856, None) is None
