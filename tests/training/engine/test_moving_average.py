"""The mean of the weights is the recurrence that its description gives."""

import math

import pytest

torch = pytest.importorskip("torch")

from ranks import training
from torch import nn

from pipeline.training.engine.moving_average import Average


def walked(asked, *, steps, step_size=1.0, dtype=torch.float32):
    """A weight that walks, its places, and the mean that was kept of them."""
    weight = nn.Linear(3, 2, bias=False).to(dtype)
    nn.init.zeros_(weight.weight)
    average, places = Average(weight, asked), [weight.weight.detach().float().clone()]
    for number in range(steps):
        with torch.no_grad():
            weight.weight.add_(step_size * (number + 1))
        average.update(weight)
        places.append(weight.weight.detach().float().clone())
    return average, places


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_recurrence(dtype):
    average, places = walked(training(ema_events=20), steps=12, dtype=dtype)
    kept, expected = math.exp(-4 / 20), places[0]
    for place in places[1:]:
        expected = kept * expected + (1 - kept) * place
    torch.testing.assert_close(average.values["weight"], expected, rtol=1e-5, atol=1e-6)
    assert average.values["weight"].dtype == torch.float32


def test_the_batch_size_makes_no_difference_where_weights_stand():
    """Weights that jump once and stand: the mean nears them by events, whatever the batch."""
    means = []
    for batch_events, steps in ((4, 30), (12, 10)):
        weight = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(weight.weight)
        average = Average(weight, training(ema_events=50, batch_events=batch_events))
        nn.init.ones_(weight.weight)
        for _ in range(steps):
            average.update(weight)
        means.append(average.values["weight"].item())
    assert means[0] == pytest.approx(1 - math.exp(-120 / 50), rel=1e-5)
    assert means[1] == pytest.approx(means[0], rel=1e-5)


def test_frozen_weights_have_no_mean():
    layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    layers[0].requires_grad_(False)
    average = Average(layers, training(ema_events=20))
    assert set(average.values) == {"1.weight", "1.bias"}


def test_without_a_number_of_events_there_is_none_to_keep():
    with pytest.raises(ValueError, match="ema_events is not set"):
        Average(nn.Linear(1, 1), training())
