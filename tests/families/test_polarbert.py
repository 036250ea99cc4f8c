"""PolarBERT: its counts, what it hides, and that it learns."""

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from made_batches import part, read_batch
from made_neutrinos import SENSORS, geometry, pulses, small, write_store
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.families.polarbert import module as polarbert
from pipeline.families.polarbert.module import Pretrainer
from pipeline.families.polarbert.spec import PolarBERT
from pipeline.nn import systems
from pipeline.nn.transformer import Block
from pipeline.training.network import Downstream
from pipeline.training.parametrisation import parametrise
from pipeline.training.steps.loop import parameters

BACKBONES = ("transformer", "gru", "mamba")
EMBEDDINGS = ("positions", "table")
EVERY = [(backbone, embedding) for backbone in BACKBONES for embedding in EMBEDDINGS]


def pretrainer(**changes):
    torch.manual_seed(0)
    return Pretrainer(small(**changes), geometry()).eval()


def seen(model, batch, *, seed=7):
    """What the model tells, with masks that the seed alone decides."""
    with torch.no_grad():
        return model(replace(batch, seed=seed))


def same(one, other):
    assert torch.equal(one.masked, other.masked)
    assert torch.equal(one.sensors, other.sensors)
    assert torch.equal(one.charge, other.charge)


# With positions 7.6 M and 6.6 M are also what PolarBERT prints; the others follow from its layers.
@pytest.mark.parametrize(
    ("size", "pretraining", "direction"),
    [
        ("positions", 7_637_802, 6_577_411),
        ("flash", 8_298_026, 7_237_635),
        ("swiglu", 10_384_938, 9_324_547),
        ("base", 8_306_218, 7_245_827),
    ],
)
def test_the_published_sizes(size, pretraining, direction):
    model = PolarBERT(size=size)
    with torch.device("meta"):
        system = systems.build(model, None)
        finder = Downstream(model, DirectionTask())
    assert parameters(system.module) == (pretraining, pretraining)
    assert parameters(finder) == (direction, direction)
    assert model.parameters().trained == pretraining
    assert model.with_direction().trained == direction


@pytest.mark.parametrize(("backbone", "embedding"), EVERY)
@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_a_declaration_counts_what_its_module_has(backbone, embedding, activation):
    model = small(backbone=backbone, embedding=embedding, activation=activation)
    with torch.device("meta"):
        trained = parameters(polarbert.build(model, None))[0]
    assert model.parameters().trained == trained


@pytest.mark.parametrize("changes", [{}, {"activation": "swiglu"}, {"backbone": "gru"}])
def test_flops_are_those_of_the_matrices_and_of_attention(changes):
    torch.manual_seed(0)
    model, batch = small(masked=0.5, **changes), pulses([64])
    batch.per_point["auxiliary"][:] = False
    system = systems.build(model, None)
    with FlopCounterMode(display=False) as counter:
        system.objective(system.module(batch), batch)[0].backward()
    # torch does not count attention on a CPU: q·k and weights·v of 65 tokens with 65, 64 pulses.
    attention = 0 if model.backbone == "gru" else 6 * 2 * 65 * 65 * model.width * model.layers / 64
    counted = counter.get_total_flops() / 64 + attention
    assert model.flops_per_token(64.0) == pytest.approx(counted, rel=0.02)


def test_a_mamba_layer_costs_what_fm4npp_s_does():
    layers = [small(backbone="mamba", layers=n).flops_per_token(100.0) for n in (1, 3)]
    own = [FM4NPPMamba2(width=32, layers=n).flops_per_token(100.0) for n in (1, 3)]
    assert layers[1] - layers[0] == pytest.approx((own[1] - own[0]) * 101 / 100)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ["dropout", "masked"])
def test_each_number_of_the_declaration_reaches_the_module(backbone, name):
    plain, changed = pretrainer(backbone=backbone), pretrainer(backbone=backbone, **{name: 0.9})
    batch = pulses([60])
    told = seen(plain.train(), batch)
    other = seen(changed.train(), batch)
    assert len(told.charge) == len(other.charge)
    assert not torch.equal(told.charge, other.charge)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensor_width": 32}, "sensor_width 32 leaves no channel of width 32"),
        ({"heads": 5}, "width 32 is no multiple of heads 5"),
        ({"backbone": "mamba", "width": 48}, "width 48 is no multiple of 32"),
        ({"masked": 1.0}, "less than 1"),
        ({"padding": "seen"}, 'padding "seen" is a row of a table .* give embedding "table"'),
        ({"padding": "seen", "embedding": "table", "backbone": "gru"}, 'padding "seen" is a row'),
        ({"size": "huge"}, "size 'huge' is none of this family's: positions, flash, swiglu, base"),
    ],
)
def test_a_model_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        small(**changes)


@pytest.mark.parametrize(("backbone", "embedding"), EVERY)
def test_a_masked_pulse_s_sensor_is_not_seen(backbone, embedding):
    model, batch = pretrainer(backbone=backbone, embedding=embedding), pulses([30, 5, 60])
    told = seen(model, batch)
    assert len(told.masked) > 5
    other = batch.per_point["sensor_id"].clone()
    other[told.masked] = (other[told.masked] + 17) % SENSORS
    changed = replace(batch, per_point={**batch.per_point, "sensor_id": other})
    same(seen(model, changed), told)
    shown = torch.ones(len(other), dtype=torch.bool)
    shown[told.masked] = False
    other[shown] = (other[shown] + 17) % SENSORS
    changed = replace(batch, per_point={**batch.per_point, "sensor_id": other})
    assert not torch.equal(seen(model, changed).sensors, told.sensors)


@pytest.mark.parametrize("name", ["total_charge", "azimuth", "zenith"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_nothing_that_is_to_be_told_of_an_event_is_read(backbone, name):
    model, batch = pretrainer(backbone=backbone), pulses([30, 5])
    told = seen(model, batch)
    wrong = torch.full_like(batch.per_event[name], math.nan)
    same(seen(model, replace(batch, per_event={**batch.per_event, name: wrong})), told)
    without = {key: each for key, each in batch.per_event.items() if key != name}
    same(seen(model, replace(batch, per_event=without)), told)


def test_directions_are_not_read_of_a_store():
    reads = PolarBERT(size="positions").reads()
    assert not {"azimuth", "zenith"} & {*reads.columns, *reads.per_point, *reads.per_event}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_event_s_answer_does_not_depend_on_its_company(backbone):
    model, batch = pretrainer(backbone=backbone), pulses([40, 1, 90])
    hidden = torch.zeros(131, dtype=torch.bool)
    together, events = model.backbone(batch, hidden)
    for number, found in enumerate(together.split([40, 1, 90])):
        alone, event = model.backbone(part(batch, [number]), hidden[: len(found)])
        torch.testing.assert_close(alone, found, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(event[0], events[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_another_event_changes_nothing_at_all(backbone):
    model, batch = pretrainer(backbone=backbone), pulses([40, 30])
    told = seen(model, batch)
    points = batch.points.clone()
    points[40:] += 1.0
    sensor = batch.per_point["sensor_id"].clone()
    sensor[40:] = 3
    changed = replace(batch, points=points, per_point={**batch.per_point, "sensor_id": sensor})
    after = seen(model, changed)
    mine = told.masked < 40
    assert torch.equal(after.sensors[mine], told.sensors[mine])
    assert torch.equal(after.charge[0], told.charge[0])
    assert not torch.equal(after.charge[1], told.charge[1])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_charge_is_told_from_every_pulse(backbone):
    model, batch = pretrainer(backbone=backbone), pulses([20])
    batch.points.requires_grad_()
    model(batch).charge.sum().backward()
    assert bool((batch.points.grad != 0).all())


@pytest.mark.parametrize("backbone", ["gru", "mamba"])
def test_a_causal_backbone_sees_no_later_pulse(backbone):
    model, batch = pretrainer(backbone=backbone), pulses([50])
    hidden = torch.zeros(50, dtype=torch.bool)
    before = model.backbone(batch, hidden)[0][:20].detach()
    batch.points[20:] = 0.5
    torch.testing.assert_close(model.backbone(batch, hidden)[0][:20], before)


def test_padding_that_is_seen_is_row_0_of_the_table_up_to_127_pulses():
    model, batch = pretrainer(embedding="table", padding="seen"), pulses([125, 30])
    model.backbone.body.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    states = []
    hidden = torch.zeros(155, dtype=torch.bool)
    before = model.backbone(batch, hidden)[1].detach()
    assert states[0].offsets.tolist() == [0, 128, 256]
    nothing = torch.cat([model.backbone.sensor.table.weight[0], model.backbone.features.bias])
    for place in (125, 126, *range(158, 255)):
        assert torch.equal(states[0].points[place], nothing)
    assert torch.equal(states[0].points[255], model.backbone.class_token)
    with torch.no_grad():
        model.backbone.sensor.table.weight[0] += 1.0
    assert not torch.equal(model.backbone(batch, hidden)[1], before)


def test_padding_that_is_seen_costs_as_much_as_pulses():
    seen, not_seen = (small(embedding="table", padding=each) for each in ("seen", "hidden"))
    assert seen.flops_per_token(30.0) > 3 * not_seen.flops_per_token(30.0)
    assert seen.flops_per_token(127.0) == not_seen.flops_per_token(127.0)
    assert seen.architecture == not_seen.architecture


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_backbone_cares_for_the_order_of_pulses_in_the_store(backbone):
    model, batch = pretrainer(backbone=backbone), pulses([30, 50])
    hidden = torch.zeros(80, dtype=torch.bool)
    order = torch.cat([torch.randperm(30), 30 + torch.randperm(50)])
    turned = replace(
        batch,
        points=batch.points[order],
        per_point={name: each[order] for name, each in batch.per_point.items()},
    )
    found, event = model.backbone(batch, hidden)
    other, same_event = model.backbone(turned, hidden)
    torch.testing.assert_close(other, found[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same_event, event, rtol=1e-4, atol=1e-5)


def test_one_pulse_in_four_is_masked_of_those_that_are_not_auxiliary():
    model, batch = pretrainer(), pulses([120] * 100)
    masked = seen(model, batch).masked
    auxiliary = batch.per_point["auxiliary"]
    assert not auxiliary[masked].any()
    share = len(masked) / int((~auxiliary).sum())
    assert abs(share - 0.25) < 0.02
    assert not torch.equal(seen(model, batch, seed=8).masked, masked)


def test_charges_reach_the_model_as_a_third_of_their_logarithm(monkeypatch):
    model, batch = pretrainer(), pulses([4])
    batch.points[:, 1] = torch.tensor([0.001, 1.0, 10.0, 1000.0])
    batch.per_point["auxiliary"][:] = torch.tensor([True, False, False, True])
    given = []
    monkeypatch.setattr(model.backbone.features, "forward", lambda x: given.append(x) or x[:, :1])
    model.backbone._seen(batch)
    torch.testing.assert_close(given[0][:, 1], torch.tensor([-1.0, 0.0, 1 / 3, 1.0]))
    assert given[0][:, 2].tolist() == [0.5, -0.5, -0.5, 0.5]
    assert torch.equal(given[0][:, 0], batch.points[:, 0])


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_the_last_sensor_is_told_from_its_neighbour_in_any_precision(embedding):
    model = PolarBERT(size="positions").model_copy(update={"embedding": embedding})
    hung = torch.zeros(5160, 3)
    hung[5158:, 2] = torch.tensor([-500.0, -507.0])
    sensor = polarbert.Backbone(model, hung).bfloat16().sensor
    shown = torch.zeros(2, dtype=torch.bool)
    near, last = sensor(torch.tensor([5158, 5159]), shown)
    assert not torch.equal(near, last)
    if embedding == "table":
        assert torch.equal(last, sensor.table.weight[5160])
        masked = sensor(torch.tensor([5159]), ~shown[:1])[0]
        assert torch.equal(masked, sensor.table.weight[5161])
    else:
        assert sensor.position_cm[5159].tolist() == [0, 0, -50_700]


@pytest.mark.parametrize(("backbone", "embedding"), EVERY)
def test_half_precision_tells_nearly_the_same(backbone, embedding):
    model, batch = pretrainer(backbone=backbone, embedding=embedding), pulses([30, 5, 60])
    told, half = seen(model, batch), seen(model.bfloat16(), batch)
    assert half.charge.dtype == torch.bfloat16
    torch.testing.assert_close(half.charge.float(), told.charge, atol=0.05, rtol=0.05)
    torch.testing.assert_close(half.sensors.float(), told.sensors, atol=0.1, rtol=0.1)


def test_positions_are_no_weights_but_the_store_s():
    model = pretrainer()
    assert not [name for name in model.state_dict() if "position" in name]


@pytest.mark.parametrize(
    ("backbone", "embedding", "steps"),
    [*((backbone, "table", 300) for backbone in BACKBONES), ("transformer", "positions", 500)],
)
def test_the_losses_fall(backbone, embedding, steps):
    torch.manual_seed(1)
    model = small(backbone=backbone, embedding=embedding, masked=0.5)
    module = Pretrainer(model, geometry())
    objective = systems.build(model, None).objective
    optimiser = torch.optim.Adam(module.parameters(), lr=4e-3)
    history = []
    for step in range(steps):
        batch = pulses([12, 20, 16, 24] * 3, seed=step)
        total, losses = objective(module(batch), batch)
        history.append([float(losses[name].detach()) for name in ("sensors", "charge")])
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    first, last = torch.tensor(history[:5]).mean(0), torch.tensor(history[-30:]).mean(0)
    # An event lights up two sensors: who copies those that are seen comes to ln 2 or so.
    assert last[0] < 0.6 * first[0]
    assert last[1] < 0.5 * first[1]


def test_directions_are_unit_vectors_of_unmasked_events():
    torch.manual_seed(0)
    finder, batch = Downstream(small(), DirectionTask()), pulses([20, 30])
    found = finder(batch)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert torch.equal(finder(batch), found)
    loss = (found * torch.tensor([0.0, 0.0, 1.0])).sum()
    loss.backward()
    assert all(each.grad is not None for each in finder.parameters())


def test_a_pretrained_backbone_fits_the_direction_finder():
    model, finder = pretrainer(), Downstream(small(), DirectionTask())
    finder.backbone.load_state_dict(model.backbone.state_dict(), strict=True)


def test_a_store_of_the_telescope_is_read_with_its_positions(tmp_path):
    store = write_store(tmp_path / "ice.zarr", [12, 8, 127])
    module = polarbert.build(small(), store)
    torch.testing.assert_close(module.backbone.sensor.position_cm / 100, geometry())
    batch = read_batch(Selection(store.path, "test", small().reads()))
    made = pulses([12, 8, 127])
    torch.testing.assert_close(batch.points, made.points, rtol=1e-4, atol=1e-5)
    assert torch.equal(batch.per_point["sensor_id"], made.per_point["sensor_id"])
    assert batch.per_point["auxiliary"].dtype == torch.bool
    assert seen(module, batch).charge.shape == (3,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ("auxiliary",)}, "no auxiliary; PolarBERT reads pulses .* icecube"),
        ({"without": ("sensor_id", "total_charge")}, "no sensor_id, total_charge; PolarBERT"),
        ({"table": False}, "no table geometry; PolarBERT reads"),
        ({"sensors": 30}, "has 30 sensors, the model 40. Give the model sensors = 30"),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path, changes, message):
    store = write_store(tmp_path / "ice.zarr", [12, 8], **changes)
    with pytest.raises(BadInput, match=message):
        polarbert.build(small(), store)


def test_an_event_of_more_than_127_pulses_is_refused(tmp_path):
    store = write_store(tmp_path / "ice.zarr", [12, 128])
    with pytest.raises(BadInput, match=r"has 128 points; this model takes 127.*max_points = 127"):
        Selection(store.path, "test", small().reads()).open()


def test_completep_scales_it_in_width_and_depth():
    rule = {"rule": "completep", "base_width": 32, "base_layers": 2}
    asked = {"width": 64, "heads": 4, "inner": 128, "sensor_width": 32, "layers": 8}
    model = PolarBERT(**asked, sensors=SENSORS, embedding="table", parametrisation=rule)
    assert (model.base.heads, model.base.inner, model.base.sensor_width) == (2, 64, 16)
    module = Pretrainer(model, geometry())
    scales = parametrise(module, lambda other: Pretrainer(other, geometry()), model)
    hidden = [name for name, scale in scales.items() if (scale.rate, scale.epsilon) == (0.5, 0.125)]
    matrices = [
        name
        for name, weight in module.named_parameters()
        if weight.ndim == 2 and ".layers." in name
    ]
    assert set(matrices) <= set(hidden)
    assert len(matrices) == 8 * 4
    blocks = [each for each in module.modules() if isinstance(each, Block)]
    assert {block.residual_scale for block in blocks} == {0.25}


def test_a_base_width_that_does_not_divide_the_heads_is_refused():
    rule = {"rule": "mup", "base_width": 48}
    with pytest.raises(ValidationError, match="no model of base_width: heads"):
        PolarBERT(size="flash", parametrisation=rule)
