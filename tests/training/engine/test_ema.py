"""The EMA of the weights follows the recurrence of its docstring."""

import math

import pytest

torch = pytest.importorskip("torch")

from ranks import training
from torch import nn

from pipeline.training.engine.ema import EMA


def walked(declared, *, steps, step_size=1.0, dtype=torch.float32):
    """Return the EMA of a weight that walks, and the values that the weight took."""
    weight = nn.Linear(3, 2, bias=False).to(dtype)
    nn.init.zeros_(weight.weight)
    ema, values = EMA(weight, declared), [weight.weight.detach().float().clone()]
    for number in range(steps):
        with torch.no_grad():
            weight.weight.add_(step_size * (number + 1))
        ema.update(weight)
        values.append(weight.weight.detach().float().clone())
    return ema, values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_recurrence(dtype):
    ema, values = walked(training(ema_events=20), steps=12, dtype=dtype)
    decay, expected = math.exp(-4 / 20), values[0]
    for value in values[1:]:
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(ema.values["weight"], expected, rtol=1e-5, atol=1e-6)
    assert ema.values["weight"].dtype == torch.float32


def test_the_batch_size_makes_no_difference_where_weights_stand():
    """After a jump of constant weights the EMA approaches them by events, at any batch size."""
    means = []
    for batch_events, steps in ((4, 30), (12, 10)):
        weight = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(weight.weight)
        ema = EMA(weight, training(ema_events=50, batch_events=batch_events))
        nn.init.ones_(weight.weight)
        for _ in range(steps):
            ema.update(weight)
        means.append(ema.values["weight"].item())
    assert means[0] == pytest.approx(1 - math.exp(-120 / 50), rel=1e-5)
    assert means[1] == pytest.approx(means[0], rel=1e-5)


def test_frozen_weights_have_no_average():
    layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    layers[0].requires_grad_(False)
    ema = EMA(layers, training(ema_events=20))
    assert set(ema.values) == {"1.weight", "1.bias"}


def test_ema_events_is_required():
    with pytest.raises(ValueError, match="ema_events is not set"):
        EMA(nn.Linear(1, 1), training())
