"""EPiC-FM: its counts, what a point can know of others, and that it learns."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import part
from made_flows import epic, jet_batch, order_within, permuted
from torch.utils.flop_counter import FlopCounterMode

from pipeline.families.epic.module import SUM_SCALE, Context, Layer, backbone, pooled
from pipeline.families.epic.spec import EPiC
from pipeline.nn import systems
from pipeline.nn.batch import Batch


def counted(module):
    return sum(each.numel() for each in module.parameters())


def made(**changes):
    torch.manual_seed(0)
    model = epic(**changes)
    return model, systems.build(model, None)


@pytest.mark.parametrize("model", [*(EPiC(size=size) for size in EPiC.SIZES), epic(conditions=())])
def test_the_declaration_knows_the_count(model):
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert counted(module) == model.parameters().trained


def test_counts_of_the_sizes():
    counts = {size: EPiC(size=size).parameters().trained for size in EPiC.SIZES}
    assert counts == {"jetnet": 561_330, "jetclass": 8_630_355, "jetclass-full": 8_636_805}


def test_thirteen_columns_flow_as_published():
    model = EPiC(size="jetclass-full")
    assert len(model.columns) == 13
    assert model.reads().columns == model.columns
    assert model.reads().per_event == ("label",)
    assert EPiC(size="jetnet").reads().per_event == ()


def test_flops_are_those_of_the_matrices():
    model, system = made(width=32)
    batch = jet_batch(model, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        system.module(batch)
    points = len(batch.points)
    found = 3 * counter.get_total_flops() / points
    assert found == pytest.approx(model.flops_per_token(points), rel=1e-6)


def test_a_layer_is_its_equations():
    model, _ = made()
    layer = Layer(model).double()
    batch = jet_batch(model, 2)
    points, event = torch.rand(len(batch.points), 16).double(), torch.rand(2, 4).double()
    time, c = torch.rand(2, model.time_width).double(), torch.rand(2, 1).double()
    found, after = layer(points, event, Context(time, c), batch)
    rows = slice(int(batch.offsets[1]), None)
    own = points[rows]

    def step(each, *parts, residual=0):
        many = max(part.shape[0] if part.ndim > 1 else 1 for part in parts)
        spread = [part if part.ndim > 1 else part.expand(many, -1) for part in parts]
        x = torch.cat([time[1].expand(many, -1), *spread, c[1].expand(many, -1)], 1)
        x = x @ each.linear.weight.T + each.linear.bias + residual
        return torch.where(x > 0, x, 0.01 * x)

    update = step(layer.event[0], own.mean(0), SUM_SCALE * own.sum(0), event[1])
    expected = step(layer.event[1], update, residual=event[1])
    torch.testing.assert_close(after[1:], expected)
    update = step(layer.point[0], own, expected[0])
    torch.testing.assert_close(found[rows], step(layer.point[1], update, residual=own))


def test_rows_of_a_layer_have_lengths_of_their_own():
    _, system = made()
    layer = system.module.last.linear
    with torch.no_grad():
        layer.parametrizations.weight.original1.mul_(7.0)
        before = layer.weight.clone()
        layer.parametrizations.weight.original0.mul_(2.0)
    torch.testing.assert_close(layer.weight, 2 * before)


def test_points_of_an_event_are_pooled_and_no_others():
    batch = jet_batch(epic(), 3)
    points = torch.rand(len(batch.points), 5)
    mean, total = pooled(points, batch)
    own = points[batch.event == 1]
    torch.testing.assert_close(mean[1], own.mean(0))
    torch.testing.assert_close(total[1], SUM_SCALE * own.sum(0))


def test_another_event_changes_nothing_and_order_moves_along():
    model, system = made(classes=2)
    module, batch = system.module.eval(), jet_batch(model, 5)
    noise, time = module.noise.drawn(batch, "noise"), torch.rand(5)
    whole = module.velocity(batch, noise, time)
    rows = batch.event == 3
    alone = module.velocity(part(batch, [3]), noise[rows], time[3:4])
    torch.testing.assert_close(whole[rows], alone)
    order = order_within(batch)
    moved = module.velocity(permuted(batch, order), noise[order], time)
    torch.testing.assert_close(moved, whole[order])


def test_the_velocity_sees_points_through_z_and_a_label_if_it_is_asked_to():
    model, system = made(classes=2)
    module, batch = system.module.eval(), jet_batch(model)
    noise, time = module.noise.drawn(batch, "noise"), torch.rand(6)
    told = module.velocity(batch, noise, time)
    away = Batch(batch.points + 1, batch.offsets, batch.event_id, {}, batch.per_event)
    assert torch.equal(module.velocity(away, noise, time), told)
    other = {"label": 1 - batch.per_event["label"]}
    other = Batch(batch.points, batch.offsets, batch.event_id, {}, other)
    assert not torch.equal(module.velocity(other, noise, time), told)
    assert made()[0].reads().per_event == ()


def test_a_point_knows_of_others_through_the_event_alone():
    model, system = made()
    module, batch = system.module.eval(), jet_batch(model, 1)
    noise = module.noise.drawn(batch, "noise").requires_grad_()
    module.velocity(batch, noise, torch.rand(1))[0].sum().backward()
    slopes = noise.grad[1:]
    assert (slopes.abs().sum(1) > 0).all()


def test_the_loss_falls():
    model, system = made(width=32)
    batch = jet_batch(model, 32)
    optimiser = torch.optim.AdamW(system.module.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss, parts = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        assert set(parts) == {"flow"}
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_all_weights_learn_in_half_precision():
    model, system = made(classes=2)
    system.module.bfloat16()
    batch = jet_batch(model)
    system.objective(system.module(batch), batch)[0].backward()
    for name, each in system.module.named_parameters():
        assert torch.isfinite(each.grad).all(), name


def test_heads_are_given_points_and_no_label():
    model = epic(classes=2)
    batch = jet_batch(model)
    _, look = backbone(model, None)
    hidden = look(batch)
    assert hidden.points[0].shape == (len(batch.points), 16)
    assert hidden.events is None
    other = Batch(batch.points, batch.offsets, batch.event_id)
    assert torch.equal(look(other).points[0], hidden.points[0])
    bare, look = backbone(model.model_copy(update={"layers": 0}), None)
    look(batch).points[0].sum().backward()
    assert all(each.grad is not None for each in bare.parameters())


def test_an_odd_number_of_sines_and_cosines_is_refused():
    with pytest.raises(ValueError, match="give an even number"):
        epic(time_width=7, time="sincos")
    assert epic(time_width=7).context == 8


def test_cosines_and_sines_are_of_frequencies_that_double():
    model, system = made(time_width=4, time="sincos")
    known = system.module.backbone.known(torch.tensor([0.1, 1.0]), jet_batch(model, 2))
    angles = torch.pi * torch.tensor([[0.1, 0.2], [1.0, 2.0]])
    torch.testing.assert_close(known.time, torch.cat([angles.cos(), angles.sin()], 1))


def test_the_published_loss_is_a_mean_over_points_and_ours_over_events():
    model, system = made(objectives={"flow": 1.0, "flow_per_event": 1.0})
    batch = jet_batch(model, 3)
    output = system.module(batch)
    squared = (output.flow.predicted - output.flow.true).square().detach()
    _, parts = system.objective(output, batch)
    torch.testing.assert_close(parts["flow"].detach(), squared.sum(1).mean())
    means = [squared[batch.event == event].mean() for event in range(3)]
    torch.testing.assert_close(parts["flow_per_event"].detach(), torch.stack(means).mean())
