"""PolarBERT's objectives, and that of directions."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_neutrinos import geometry, pulses, small

from pipeline.data.preparation import directions as reference
from pipeline.downstream.direction.loss import opening_angle, unit_vectors
from pipeline.families.polarbert.module import Output, Pretrainer
from pipeline.families.polarbert.objective import charge, sensors


def with_auxiliary(batch, auxiliary):
    return replace(batch, per_point={**batch.per_point, "auxiliary": auxiliary})


def test_cross_entropy_is_the_mean_of_each_event_s_mean_and_of_none_zero():
    batch = pulses([4, 2, 3])
    sensor = batch.per_point["sensor_id"]
    masked = torch.tensor([0, 3, 4])  # two of the first event, one of the second, none of the last
    logits = torch.randn(3, 41, generator=torch.Generator().manual_seed(1))
    each = [-float(logits[i].log_softmax(0)[sensor[row] + 1]) for i, row in enumerate(masked)]
    expected = ((each[0] + each[1]) / 2 + each[2] + 0) / 3
    found = sensors(Output(masked, logits, torch.zeros(3)), batch)["sensors"]
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_the_last_sensor_is_the_last_class():
    batch = pulses([1], sensors=5160)
    batch.per_point["sensor_id"][:] = 5159
    logits = torch.full((1, 5161), -50.0)
    logits[0, 5160] = 50.0
    told = Output(torch.tensor([0]), logits, torch.zeros(1))
    assert float(sensors(told, batch)["sensors"]) == 0.0


@pytest.mark.parametrize("backbone", ["transformer", "gru", "mamba"])
def test_auxiliary_pulses_give_the_cross_entropy_no_gradient(backbone):
    torch.manual_seed(0)
    model, batch = Pretrainer(small(backbone=backbone, masked=0.5), geometry()), pulses([40, 30])
    states = []

    def keep(module, given, output):
        output[0].retain_grad()
        states.append(output[0])

    model.backbone.register_forward_hook(keep)
    told = model(batch)
    sensors(told, batch)["sensors"].backward()
    moved = (states[0].grad != 0).any(1)
    auxiliary = batch.per_point["auxiliary"]
    assert auxiliary.any()
    assert not moved[auxiliary].any()
    assert torch.equal(moved.nonzero().squeeze(1), told.masked)


def test_events_of_auxiliary_pulses_alone_have_no_loss_and_no_gradient():
    torch.manual_seed(0)
    model, batch = Pretrainer(small(), geometry()), pulses([40, 30])
    batch = with_auxiliary(batch, torch.ones(70, dtype=torch.bool))
    told = model(batch)
    loss = sensors(told, batch)["sensors"]
    assert loss.item() == 0.0
    assert told.sensors.shape == (0, 41)
    loss.backward()
    assert all(each.grad is None or not each.grad.any() for each in model.parameters())


def test_charge_is_the_squared_error_of_the_logarithm():
    batch = pulses([4, 2])
    batch.per_event["total_charge"][:] = torch.tensor([100.0, 1.0])
    told = Output(torch.tensor([], dtype=torch.long), torch.zeros(0, 41), torch.tensor([2.5, -1.0]))
    assert float(charge(told, batch)["charge"]) == pytest.approx((0.25 + 1) / 2)


def test_directions_are_those_of_the_data_room():
    batch = pulses([2] * 50)
    azimuth, zenith = (batch.per_event[name].numpy() for name in ("azimuth", "zenith"))
    expected = reference.unit_vectors(azimuth, zenith)
    np.testing.assert_allclose(unit_vectors(batch).numpy(), expected, atol=1e-6)


def test_the_angle_is_that_between_the_vectors():
    batch = pulses([2, 2, 2])
    batch.per_event["azimuth"][:] = 0.0
    batch.per_event["zenith"][:] = torch.tensor([0.0, math.pi / 2, 0.0])
    found = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, math.sqrt(0.5), math.sqrt(0.5)]])
    expected = (math.pi / 2 + math.pi / 2 + math.pi / 4) / 3
    assert float(opening_angle(found, batch)["angle"]) == pytest.approx(expected, rel=1e-5)


def test_the_right_and_the_opposite_direction_have_finite_slopes():
    batch = pulses([2, 2])
    batch.per_event["zenith"][:] = 0.0
    found = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], requires_grad=True)
    loss = opening_angle(found, batch)["angle"]
    loss.backward()
    assert loss.item() == pytest.approx(math.pi / 2, abs=1e-4)
    assert bool(found.grad.isfinite().all())
