"""MPMv2: its counts, what it may not see, and what each of its tasks learns."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from made_batches import batch as events_of
from made_batches import part
from pydantic import ValidationError

from pipeline.data.jet_inputs import columns_of
from pipeline.families.mpmv2.heads import features, identities
from pipeline.families.mpmv2.module import Drawn, by_pt
from pipeline.families.mpmv2.spec import IDENTITIES, INPUTS, MPMv2
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from pipeline.training.network import backbone_of

SMALL = {"width": 32, "layers": 2, "heads": 4, "codes": 16, "clusters": 16, "registers": 2}
SMALL |= {"decoder_width": 16, "decoder_layers": 1, "layer_scale": 0.1}
TASKS = tuple(MPMv2.OBJECTIVES)
CHARGED, NEUTRAL = 0, 2


def counted(module):
    return sum(each.numel() for each in module.parameters())


def jets(count, *, seed=0, inputs="full", most=24):
    """Jets whose constituents lie near a place of the jet, charged ones on one side of it."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, most, count)
    offsets = np.concatenate([[0], sizes.cumsum()])
    event = np.repeat(np.arange(count), sizes)
    side = rng.choice([-1.0, 1.0], len(event))
    place = rng.uniform(-0.3, 0.3, count)[event]
    deta = place + 0.05 * side + 0.01 * rng.normal(size=len(event))
    species = np.eye(5, dtype=np.bool_)[np.where(side > 0, CHARGED, NEUTRAL)]
    stored = {
        "log_pt": rng.normal(2.0, 1.0, len(event)),
        "deta": deta,
        "dphi": 0.5 * deta,
        "charge": (side > 0).astype(np.int8),
        "species": species,
        **{name: np.zeros(len(event)) for name in ("d0val", "dzval", "d0err", "dzerr")},
    }
    made = torch.Generator().manual_seed(seed)
    return Batch(
        points=torch.from_numpy(columns_of(INPUTS[inputs], stored, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(count),
        per_point={"token": torch.randint(0, 16, (len(event),), generator=made)},
        per_event={"label": torch.arange(count) % 2},
        seed=seed,
    )


def made(*tasks, **asked):
    torch.manual_seed(0)
    return systems.build(MPMv2(objectives=dict.fromkeys(tasks, 1.0), **(SMALL | asked)), None)


def told(system, batch, *, seed=3):
    torch.manual_seed(seed)
    return system.module.eval()(batch)


@pytest.mark.parametrize("size", MPMv2.SIZES)
@pytest.mark.parametrize("inputs", INPUTS)
def test_the_declaration_knows_the_count_of_every_size(size, inputs):
    model = MPMv2(size=size, inputs=inputs, objectives={"regression": 1.0, "clusters": 1.0})
    with torch.device("meta"):
        assert counted(systems.build(model, None).module) == model.parameters().trained


@pytest.mark.parametrize("task", TASKS)
def test_the_declaration_knows_the_count_of_every_head(task):
    model = MPMv2(objectives={task: 1.0}, **SMALL)
    assert counted(systems.build(model, None).module) == model.parameters().trained


def test_flops_are_six_a_weight_where_attention_is_short():
    model = MPMv2(size="jetclass", masked=0.01, objectives={"regression": 1.0})
    inside = model.parameters().trained - 129 * model.context
    assert model.flops_per_token(1e3) / 1e3 < model.flops_per_token(1e4) / 1e3
    without = model.flops_per_token(40.0) - 6 * (8 * 2 * 47.6 * 512 * 47.6 / 40)
    assert without == pytest.approx(6 * inside * 48 / 40, rel=0.02)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"inputs": "kin", "objectives": {"identity": 1.0}}, 'inputs = "kinpid" or "full"'),
        ({"decoder_layers": 0}, "greater than 0"),
        ({"heads": 5}, "width 32 is no multiple of 5 heads"),
        ({"objectives": {"charges": 1.0}}, "this family has identity, tokens"),
    ],
)
def test_what_cannot_be_told_is_refused(asked, message):
    with pytest.raises(ValidationError, match=message):
        MPMv2(**{**SMALL, **asked})


def test_a_share_is_masked_of_each_jet_and_never_all_or_none():
    batch = jets(200, most=40)
    tiny = part(jets(4, most=7), [0, 1, 2, 3])
    for each in (batch, tiny):
        counts = torch.bincount(each.event[Drawn.of(each, 0.3).rows], minlength=len(each.sizes))
        assert torch.equal(counts, (each.sizes * 0.3).round().long())
    extremes = [torch.bincount(tiny.event[Drawn.of(tiny, share).rows]) for share in (0.001, 0.999)]
    assert extremes[0].tolist() == [1, 1, 1, 1]
    assert torch.equal(extremes[1], tiny.sizes - 1)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.4, 0.5, 0.7])
def test_what_is_drawn_is_as_much_as_is_known_on_the_cpu(share):
    sizes = range(2, 129)
    every = events_of(list(sizes))
    found = Drawn.of(every, share)
    assert found.lengths.runs == Lengths.of(found.lengths.offsets).runs
    assert torch.cat([found.rows, found.left]).unique().numel() == sum(sizes)
    left = torch.bincount(every.event[found.left], minlength=len(sizes))
    assert torch.equal(left, found.lengths.sizes)


def test_places_go_by_falling_pt_in_each_jet():
    batch = jets(5)
    for first, last in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        order = by_pt(batch)[first:last].argsort()
        assert (batch.points[first:last][order, 0].diff() <= 0).all()


def test_kinds_of_particles():
    flags = torch.zeros(8, 13)
    charge = torch.tensor([0, 0, -1, 1, -1, 1, -1, 1.0])
    which = [2, 1, 0, 0, 3, 3, 4, 4]  # photon, neutral hadron, charged hadron, electron, muon
    flags[:, 3] = charge
    flags[torch.arange(8), 4 + torch.tensor(which)] = 1
    batch = Batch(flags, torch.tensor([0, 8]), torch.zeros(1, dtype=torch.int64))
    assert identities(batch, torch.arange(8)).tolist() == list(range(len(IDENTITIES)))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_masked_is_not_seen(task):
    """But for its place by pT, and what a flow is told of it through noise."""
    system, batch = made(task), jets(6)
    first = told(system, batch)
    points = batch.points.clone()
    points[first.rows, 1:] += 0.7
    tokens = batch.per_point["token"].clone()
    tokens[first.rows] += 1
    moved = Batch(points, batch.offsets, batch.event_id, {"token": tokens}, batch.per_event)
    second = told(system, moved)
    assert torch.equal(first.rows, second.rows)
    if task in ("cnf", "cfm", "ssfm"):
        context = [context_of(system, each) for each in (batch, moved)]
        torch.testing.assert_close(*context, rtol=0, atol=0)
    else:
        torch.testing.assert_close(
            first.predictions[task].predicted, second.predictions[task].predicted, rtol=0, atol=0
        )
    points = batch.points.clone()
    points[:, 1] += 0.7
    other = told(system, Batch(points, batch.offsets, batch.event_id, batch.per_point))
    assert not torch.equal(first.predictions[task].predicted, other.predictions[task].predicted)


def context_of(system, batch):
    """What the first head is given of masked constituents."""
    caught = []
    hook = system.module.decoder.register_forward_hook(lambda _, __, out: caught.append(out))
    told(system, batch)
    hook.remove()
    return caught[0]


def test_other_jets_and_the_order_of_constituents_change_nothing():
    model = MPMv2(**SMALL)
    torch.manual_seed(0)
    encoder, look = backbone_of(model, None)
    encoder.eval()
    both = jets(4)
    states = look(both).points[-1]
    alone = look(part(both, [2])).points[-1]
    inside = slice(int(both.offsets[2]), int(both.offsets[3]))
    torch.testing.assert_close(states[inside], alone, rtol=1e-4, atol=1e-5)
    starts, sizes = both.offsets[:-1].tolist(), both.sizes.tolist()
    order = torch.cat([at + torch.randperm(n) for at, n in zip(starts, sizes, strict=True)])
    turned = Batch(both.points[order], both.offsets, both.event_id)
    torch.testing.assert_close(look(turned).points[-1], states[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        look(turned).pooled(turned), look(both).pooled(both), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns(task):
    """Seconds on one core. Of the tokens, drawn at random, a batch is learnt by heart."""
    system = made(task, layer_scale=1.0)
    module = system.module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for step in range(60 if task == "tokens" else 100):
        torch.manual_seed(1 if task == "tokens" else step)
        batch = jets(16, seed=7 if task == "tokens" else step)
        loss, told_parts = system.objective(module(batch), batch)
        assert list(told_parts) == [task]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1 * abs(np.mean(losses[:10]))


def test_clusters_are_where_the_first_batch_is_and_stay():
    system, batch = made("clusters"), jets(40)
    system.module.train()(batch)
    head = system.module.heads["clusters"]
    true = features(system.module.model, batch, torch.arange(len(batch.points)))
    spread = torch.cdist(true, head.centres.centres).min(1).values
    assert spread.mean() < 0.5 * true.std(0).norm()
    before = head.centres.centres.clone()
    system.module(jets(40, seed=5))
    assert torch.equal(before, head.centres.centres)


def test_a_padded_token_store_is_read_by_code():
    model = MPMv2(objectives={"tokens": 1.0}, **SMALL)
    assert model.reads().codes == 16
    assert model.reads().per_point == ("token",)
    assert model.reads_downstream().codes == 0
    assert MPMv2(**SMALL).reads().per_point == ()
