import math

import pytest

from pipeline.campaign import Training
from pipeline.training.steps.schedule import factor, first_beta

PEAK, FINAL = 1e-3, 1e-5
END = FINAL / PEAK


def training(batch_events=8, **changes):
    asked = {
        "events_seen": 800,
        "batch_events": batch_events,
        "learning_rate": PEAK,
        "final_learning_rate": FINAL,
        "warmup_events": 80,
        "checkpoint_events": 100,
        "walltime_minutes": 1,
    }
    return Training(**{**asked, **changes})


def trapezoid(**changes):
    asked = {"schedule": "trapezoid", "decay_events": 200, "final_learning_rate": 0.0}
    return training(**{**asked, **changes})


EVERY = {
    "cosine": training(),
    "one-cycle": training(schedule="one-cycle"),
    "trapezoid": trapezoid(),
    "1-sqrt": trapezoid(decay_shape="1-sqrt"),
    "constant": training(schedule="constant", final_learning_rate=0.0),
}


@pytest.mark.parametrize("name", ["cosine", "trapezoid", "constant"])
def test_it_warms_up_linearly_to_the_peak(name):
    assert factor(EVERY[name], 0) == pytest.approx(8 / 80)
    assert factor(EVERY[name], 36) == pytest.approx(44 / 80)
    assert factor(EVERY[name], 72) == pytest.approx(1)
    assert factor(EVERY[name], 80) == pytest.approx(1)


@pytest.mark.parametrize("name", EVERY)
def test_it_never_exceeds_the_peak_and_is_never_negative(name):
    asked = EVERY[name].model_copy(update={"batch_events": 7})
    factors = [factor(asked, seen) for seen in range(0, 900, 7)]
    assert min(factors) >= 0
    assert max(factors) <= 1 + 1e-12


def test_half_way_down_the_cosine_is_the_mean_of_both_ends():
    assert factor(training(), 440) == pytest.approx((1 + END) / 2)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle", "trapezoid"])
def test_it_ends_at_the_final_rate_and_stays_there(schedule):
    asked = trapezoid if schedule == "trapezoid" else training
    for seen in (800, 9999):
        found = factor(asked(schedule=schedule, final_learning_rate=FINAL), seen)
        assert found == pytest.approx(END)


@pytest.mark.parametrize("name", EVERY)
def test_without_warm_up_it_starts_at_the_peak(name):
    assert factor(EVERY[name].model_copy(update={"warmup_events": 0}), 0) == 1.0


@pytest.mark.parametrize("seen", [80, 160, 333, 640, 760])
@pytest.mark.parametrize("name", EVERY)
def test_after_warm_up_the_batch_size_makes_no_difference(name, seen):
    batches = [EVERY[name].model_copy(update={"batch_events": n}) for n in (1, 8, 40)]
    assert len({factor(asked, seen) for asked in batches}) == 1


def test_a_training_that_only_warms_up_stays_finite():
    assert math.isfinite(factor(training(warmup_events=800), 800))


def test_the_trapezoid_of_single_events_has_its_published_shape():
    """min((s + 1) / warm, 1, (T - s) / decay)."""
    asked = trapezoid(batch_events=1, events_seen=100, warmup_events=10, decay_events=20)
    found = [factor(asked, s) for s in range(100)]
    assert found == pytest.approx([min((s + 1) / 10, 1, (100 - s) / 20) for s in range(100)])
    assert found[99] == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("linear", {600: 1.0, 650: 0.75, 700: 0.5, 792: 0.04}),
        ("1-sqrt", {600: 1.0, 650: 0.5, 700: 1 - math.sqrt(0.5), 792: 1 - math.sqrt(0.96)}),
    ],
)
def test_the_decay_has_the_shape_that_is_asked(shape, values):
    asked = trapezoid(decay_shape=shape)
    assert {s: factor(asked, s) for s in values} == pytest.approx(values)


def test_a_fraction_is_the_same_as_its_number_of_events():
    by_share = trapezoid(decay_events=0, decay_fraction=0.25)
    found = [factor(by_share, seen) for seen in range(0, 800, 8)]
    assert found == [factor(trapezoid(), seen) for seen in range(0, 800, 8)]


def test_points_are_joined_by_lines_and_steps():
    points = ((0.0, 0.5), (0.25, 1.0), (0.5, 1.0), (0.5, 0.2), (1.0, 0.1))
    asked = training(
        schedule="points", points=points, warmup_events=0, final_learning_rate=0.0, batch_events=8
    )
    found = {seen: factor(asked, seen) for seen in (0, 100, 200, 392, 400, 600, 800, 9999)}
    expected = {0: 0.5, 100: 0.75, 200: 1.0, 392: 1.0, 400: 0.2, 600: 0.15, 800: 0.1, 9999: 0.1}
    assert found == pytest.approx(expected)


def test_points_may_follow_a_warm_up():
    points = ((0.0, 1.0), (1.0, 0.0))
    asked = training(schedule="points", points=points, final_learning_rate=0.0)
    assert factor(asked, 40) == pytest.approx(48 / 80 * 0.95)
    assert factor(asked, 400) == pytest.approx(0.5)


def test_the_first_beta_stays_unless_it_is_cycled():
    assert {first_beta(asked, seen) for asked in EVERY.values() for seen in (0, 40, 700)} == {0.9}


def test_one_cycle_is_that_of_torch():
    torch = pytest.importorskip("torch")
    steps, warm = 100, 30
    asked = training(
        schedule="one-cycle",
        batch_events=1,
        events_seen=steps,
        warmup_events=warm,
        betas=(0.85, 0.999),
        max_beta=0.95,
    ).model_copy(update={"final_learning_rate": PEAK / 25 / 1e4})
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        PEAK,
        total_steps=steps + 1,
        pct_start=(warm + 1) / (steps + 1),
        cycle_momentum=True,  # base_momentum 0.85, max_momentum 0.95
    )
    for seen in range(steps + 1):
        assert first_beta(asked, seen) == pytest.approx(optimiser.param_groups[0]["momentum"])
        assert PEAK * factor(asked, seen) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        if seen < steps:
            optimiser.step()
            theirs.step()
