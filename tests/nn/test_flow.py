"""Flow matching: what is seen of points in noise, the way back along a known flow, and the loss."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from made_batches import packed
from made_flows import epic, jet_batch, learned

from pipeline.data.errors import BadInput
from pipeline.evaluation.distances import wasserstein
from pipeline.families.omnilearned.module import Output
from pipeline.families.omnilearned.objective import flow, perturbed
from pipeline.nn import draws, systems
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flow, Noise, conditions, fourier, generated, midpoint, noised

MEAN, DEVIATION = 2.0, 0.5


def to_normal(z, time):
    """The velocity of the flow from N(0, 1) at time 1 to N(2, 0.5²) at 0, both independent.

    x and ε given z are normal; of (1 - t) x + t ε the mean is (1 - t) m, the variance
    s² (1 - t)² + t², and of it ε - x has the covariance t - (1 - t) s².
    """
    rest = 1 - time
    variance = (DEVIATION * rest) ** 2 + time**2
    return (time - rest * DEVIATION**2) / variance * (z - rest * MEAN) - MEAN


def of_width(z, time):
    """The velocity of points that are normal around 0 at every time, of width 1 + t²."""
    return 2 * time / (1 + time**2) * z


def exact(start):
    """Where that flow leads: the map between two normal distributions that keeps the order."""
    return MEAN + DEVIATION * start


def test_the_midpoint_rule_is_of_second_order():
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    errors = [
        (led(to_normal, start, steps) - exact(start)).abs().max().item()
        for steps in (16, 32, 64, 128)
    ]
    assert all(each > 3.9 for each in halved(errors)), "second order, or better where errors cancel"
    assert errors[-1] < 1e-5

    errors = [
        (led(of_width, start, steps) - start / 2).abs().max().item() for steps in (16, 32, 64, 128)
    ]
    assert all(3.8 < each < 4.2 for each in halved(errors)), errors


def led(velocity, start, steps):
    """Where the midpoint rule leads, all points at one time."""
    return midpoint(velocity, start, torch.ones((), dtype=start.dtype), steps)


def halved(errors):
    """By how much an error falls when the steps are halved."""
    return [coarse / fine for coarse, fine in pairwise(errors)]


def test_straight_ways_are_followed_exactly_in_one_step():
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def straight(z, time):
        return (z - MEAN * (1 - time)) / (DEVIATION * (1 - time) + time) * (1 - DEVIATION) - MEAN

    torch.testing.assert_close(led(straight, start, 1), exact(start))


def test_noise_is_at_time_one_and_points_at_time_zero():
    batch = packed([5, 900, 3])
    noise = draws.normal(batch, "noise", 4)
    seen = noised(batch.points, noise, batch)
    assert seen.time.shape == (3,)
    assert ((seen.time >= 0) & (seen.time < 1)).all()
    time = seen.time[batch.event].unsqueeze(1)
    torch.testing.assert_close(seen.points - time * seen.velocity, batch.points)
    torch.testing.assert_close(seen.points + (1 - time) * seen.velocity, noise)


def test_noise_has_the_moments_of_each_column():
    noise = Noise(((0.0, 0.3), (1.5, 2.0)))
    drawn = noise.drawn(packed([40_000]), "noise")
    torch.testing.assert_close(drawn.mean(0), torch.tensor([0.0, 1.5]), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.tensor([0.3, 2.0]), atol=0.03, rtol=0)
    standard = noise.standardised(drawn)
    torch.testing.assert_close(standard.std(0), torch.ones(2), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.scaled(standard) + torch.tensor([0.0, 1.5]), drawn)


def test_times_are_told_apart():
    told = fourier(torch.linspace(0, 1, 1000), 16)
    assert told.shape == (1000, 16)
    apart = torch.cdist(told, told) + 10 * torch.eye(1000)
    assert apart.min() > 1e-3


def test_the_loss_is_a_mean_over_events_whatever_their_size():
    batch = packed([1, 30])
    told = torch.zeros(31, 4)
    told[0] = 1.0
    output = Output(flow=Flow(told, torch.zeros(31, 4), torch.rand(2)))
    assert flow(output, batch)["flow"].item() == pytest.approx(2.0)


def test_what_is_told_in_noise_counts_less_the_more_noise_there_is():
    batch = Batch(*(getattr(packed([3, 4]), name) for name in ("points", "offsets", "event_id")))
    batch = Batch(batch.points, batch.offsets, batch.event_id, {}, {"label": torch.tensor([0, 1])})
    nothing = Flow(batch.points, batch.points, torch.tensor([0.25, 1.0]))
    output = Output(flow=nothing, in_noise=torch.zeros(2, 2))
    found = perturbed(output, batch)["perturbed"].item()
    assert found == pytest.approx(0.75**2 * math.log(2) / 2)


def test_conditions_are_of_one_size_and_one_number_each():
    batch = packed([5, 20])
    arrays = {"mass": torch.tensor([0.0, -80.0]), "jet": torch.ones(2, 4)}
    batch = Batch(batch.points, batch.offsets, batch.event_id, {}, arrays)
    found = conditions(batch, ("multiplicity", "mass", "jet.3"))
    expected = [[0.05, 0.0, math.log(2)], [0.2, -math.log(81), math.log(2)]]
    torch.testing.assert_close(found, torch.tensor(expected))
    with pytest.raises(
        BadInput, match=r"jet holds 4 numbers per event; name one, jet\.0 to jet\.3"
    ):
        conditions(batch, ("jet",))


@pytest.mark.parametrize("model", [learned(mode="generator"), epic(classes=2)])
def test_the_seed_decides_what_is_generated(model):
    torch.manual_seed(0)
    module, batch = systems.build(model, None).module.eval(), jet_batch(model, 3)

    def drawn(seed):
        return generated(module, replace(batch, seed=seed), 4)

    first = drawn(1)
    assert first.shape == (len(batch.points), len(model.columns))
    assert torch.equal(first, drawn(1))
    assert not torch.equal(first, drawn(2))


@pytest.mark.parametrize("model", [learned(mode="generator"), epic(classes=2, width=32)])
def test_after_a_short_training_jets_are_nearer_to_the_truth_than_noise(model):
    torch.manual_seed(0)
    system, batch = systems.build(model, None), jet_batch(model, 32)
    optimiser = torch.optim.AdamW(system.module.parameters(), 3e-3)
    for epoch in range(100):
        batch = replace(batch, epoch=torch.full((32,), epoch))
        loss, _ = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module = system.module.eval()
    made = generated(module, batch, 16)
    noise = module.noise.drawn(batch, "noise")
    columns = range(len(model.columns))
    far, near = (
        [wasserstein(batch.points[:, at].numpy(), each[:, at].numpy()) for at in columns]
        for each in (noise, made)
    )
    assert sum(near) < 0.5 * sum(far), (near, far)
    assert near[-1] < 0.5 * far[-1], "ln pT"
