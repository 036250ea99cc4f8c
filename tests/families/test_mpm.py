"""MPM: its counts, what it hides and may not see, what it learns, and its VQ-VAE as a tokenizer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import batch as events_of
from made_batches import part
from made_constituents import feature_batch
from pydantic import ValidationError
from torch import nn

from pipeline.data.jet_inputs import columns_of
from pipeline.families.mpm.encoder import Normaliser
from pipeline.families.mpm.module import drawn, hidden_number
from pipeline.families.mpm.probe import probe
from pipeline.families.mpm.spec import COLUMNS, MPM
from pipeline.families.mpm_vqvae.module import squashed, unsquashed
from pipeline.families.mpm_vqvae.spec import MPMVQVAE
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collectives
from pipeline.probing import BATCH_EVENTS, Subject
from pipeline.training.network import backbone_of

SMALL = {"width": 32, "inner": 24, "layers": 2, "heads": 4, "codes": 16, "clusters": 16}
SMALL |= {"second_width": 16, "second_inner": 16, "second_layers": 1, "second_heads": 2}
SMALL |= {"dropout": 0.0}
TASKS = tuple(MPM.OBJECTIVES)


def jets(count, *, seed=0, most=24):
    """Jets whose constituents lie near a place of the jet, the hardest first."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, most, count)
    offsets = np.concatenate([[0], sizes.cumsum()])
    event = np.repeat(np.arange(count), sizes)
    deta = rng.uniform(-0.3, 0.3, count)[event] + 0.02 * rng.normal(size=len(event))
    pt = rng.exponential(30, len(event))
    stored = {"log_pt": np.log(pt), "deta": deta, "dphi": 0.5 * deta}
    stored = {name: each[np.lexsort((-pt, event))] for name, each in stored.items()}
    tokens = torch.from_numpy(np.clip(30 * stored["deta"] + 8, 0, 15).astype(np.int64))
    return Batch(
        points=torch.from_numpy(columns_of(COLUMNS, stored, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(count),
        per_point={"token": tokens},
        seed=seed,
    )


def made(task="tokens", **asked):
    torch.manual_seed(0)
    return systems.build(MPM(objectives={task: 1.0}, **(SMALL | asked)), None)


def awake(module):
    """Give the branches of the blocks, which begin at zero, random weights."""
    for name, each in module.named_parameters():
        if name.endswith(("attention.out.weight", "dense.down.weight")):
            nn.init.normal_(each, std=0.1)
    return module.eval()


def counted(module):
    count = {True: 0, False: 0}
    for each in module.parameters():
        count[each.requires_grad] += each.numel()
    return count[True], count[False]


def count_of(model):
    parameters = model.parameters()
    return parameters.trained, parameters.frozen


@pytest.mark.parametrize("size", MPM.SIZES)
def test_the_declaration_knows_the_count_of_every_size(size):
    model = MPM(size=size)
    with torch.device("meta"):
        assert counted(systems.build(model, None).module) == count_of(model)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("positions", ["second_encoder", "inputs", "none"])
@pytest.mark.parametrize("token", ["fixed", "learnt"])
def test_the_declaration_knows_the_count_of_every_option(task, positions, token):
    system = made(task, positions=positions, mask=token)
    assert counted(system.module) == count_of(system.module.model)


@pytest.mark.parametrize("rate", [0.0, 2.0])
def test_the_declaration_knows_the_count_of_the_tokenizer(rate):
    model = MPMVQVAE(codes=8, width=16, inner=12, heads=2, layers=1, affine_rate=rate)
    assert counted(systems.build(model, None).module) == count_of(model)


def test_flops_are_six_a_weight_of_a_matrix_where_attention_is_short():
    model, shorter = MPM(size="mid"), MPM(size="mid").flops_per_token(1.0)
    matrices = sum(
        each.numel()
        for name, each in systems.build(model, None).module.named_parameters()
        if each.ndim == 2 and name != "second.places"
    )
    assert shorter == pytest.approx(6 * matrices, rel=1e-3)
    assert model.flops_per_token(101.0) - shorter == 6 * 100 * 2 * (8 * 512 + 2 * 256)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"objectives": {"tokens": 1.0, "clusters": 1.0}}, "give one of tokens, clusters, regr"),
        ({"objectives": {"mine.py:loss": 1.0}}, "give one of tokens, clusters, regression"),
        ({"objectives": {"identity": 1.0}}, "this family has tokens, clusters, regression"),
        ({"heads": 5}, "width 32 is no multiple of 5 heads"),
        ({"second_heads": 3}, "width 16 is no multiple of 3 heads"),
    ],
)
def test_what_cannot_be_built_is_refused(asked, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def loss(output, batch):\n    return {}\n")
    with pytest.raises(ValidationError, match=message):
        MPM(**(SMALL | asked))


def test_a_share_of_each_jet_is_hidden_rounded_down():
    batch = jets(200, most=40)
    one = Batch(torch.zeros(3, 3), torch.tensor([0, 3]), torch.zeros(1))
    for each in (batch, part(jets(4, most=7), [0, 1, 2, 3]), one):
        counts = torch.bincount(each.event[drawn(each, 0.3)], minlength=len(each.sizes))
        assert torch.equal(counts, (3 * each.sizes) // 10)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.4, 0.5, 0.7])
def test_as_much_is_hidden_as_is_known_on_the_cpu(share):
    for size in range(1, 129):
        events = events_of([size, size])
        assert int(drawn(events, share).sum()) == hidden_number(events.lengths, share)


def test_a_batch_of_which_nothing_is_hidden_has_a_loss_of_zero():
    system = made("regression")
    batch = Batch(torch.randn(4, 3), torch.tensor([0, 2, 4]), torch.arange(2))
    loss, _ = system.objective(system.module(batch), batch)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert float(system.module.backbone.trunk.entry.up.weight.grad.norm()) == 0.0


@pytest.mark.parametrize("task", TASKS)
def test_what_is_hidden_is_not_seen(task):
    system, batch = made(task), jets(6)
    module = awake(system.module)
    hidden = drawn(batch, 0.3)
    points = batch.points.clone()
    points[hidden] += 0.7
    moved = Batch(points, batch.offsets, batch.event_id, batch.per_point)
    first, second = module.predicted(batch, hidden), module.predicted(moved, hidden)
    torch.testing.assert_close(first.predicted, second.predicted, rtol=0, atol=0)
    points = batch.points + 0.7
    other = Batch(points, batch.offsets, batch.event_id, batch.per_point)
    assert not torch.equal(first.predicted, module.predicted(other, hidden).predicted)


@pytest.mark.parametrize("token", ["fixed", "learnt"])
def test_only_a_token_behind_the_normaliser_learns(token):
    system, batch = made(mask=token, positions="inputs"), jets(6)
    system.module.train()
    optimiser = torch.optim.SGD(system.module.parameters(), lr=0.1)
    system.objective(system.module(batch), batch)[0].backward()
    optimiser.step()
    learnt = [not torch.equal(system.module.mask, torch.ones(3)), bool(system.module.places.any())]
    assert learnt == [token == "learnt"] * 2


def test_other_jets_change_nothing_and_the_backbone_knows_no_order():
    torch.manual_seed(0)
    backbone, hidden_of = backbone_of(MPM(**SMALL), None)
    awake(backbone)
    both = jets(4)
    states = hidden_of(both).points[-1]
    alone = hidden_of(part(both, [2])).points[-1]
    inside = slice(int(both.offsets[2]), int(both.offsets[3]))
    torch.testing.assert_close(states[inside], alone, rtol=1e-4, atol=1e-5)
    starts, sizes = both.offsets[:-1].tolist(), both.sizes.tolist()
    order = torch.cat([at + torch.randperm(n) for at, n in zip(starts, sizes, strict=True)])
    turned = Batch(both.points[order], both.offsets, both.event_id)
    torch.testing.assert_close(hidden_of(turned).points[-1], states[order], rtol=1e-4, atol=1e-5)


def test_clusters_are_where_the_first_batch_is_and_stay():
    system, batch = made("clusters"), jets(40)
    head = system.module.train().clusters
    system.module(batch)
    away = torch.cdist(batch.points, head.centres).min(1).values.mean()
    assert away < 0.5 * batch.points.std(0).norm()
    before = head.centres.clone()
    system.module(jets(40, seed=5))
    assert torch.equal(before, head.centres)


def test_the_normaliser_knows_mean_and_spread_whatever_the_batches_and_then_stays():
    torch.manual_seed(0)
    points = 3 * torch.randn(900, 3) + torch.tensor([1.0, -2.0, 50.0])
    whole, parts = Normaliser(3, 1000), Normaliser(3, 1000)
    whole.learn(points)
    for each in points.split([1, 200, 699]):
        parts.learn(each)
    for normaliser in (whole, parts):
        torch.testing.assert_close(normaliser.mean, points.mean(0))
        squares = (points - points.mean(0)).square().sum(0)
        torch.testing.assert_close(normaliser.variance, (squares + 1) / 900, rtol=1e-5, atol=0)
        assert not bool(normaliser.frozen)
    torch.testing.assert_close(whole.inverse(whole(points)), points)
    whole.learn(points[:100])
    before = {name: each.clone() for name, each in whole.state_dict().items()}
    assert bool(before["frozen"])
    whole.learn(points + 10)
    assert all(torch.equal(each, before[name]) for name, each in whole.state_dict().items())


def test_all_processes_know_the_mean_of_all_their_points():
    """Two processes, one with twice the other's points: what the sum over both is given back."""
    shares = [torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 0.0], [7.0, 4.0]])]
    sums = iter([torch.tensor([3.0]), torch.tensor([12.0, 6.0]), torch.tensor([18.0, 8.0])])
    normaliser = Normaliser(2, 10)
    normaliser.collectives = Collectives(lambda _: next(sums).double())
    normaliser.learn(shares[0])
    assert normaliser.mean.tolist() == [4.0, 2.0]
    assert normaliser.variance.tolist() == pytest.approx([19 / 3, 3.0])
    assert int(normaliser.points) == 3


def test_precision_of_the_weights_is_not_that_of_the_normaliser():
    system, batch = made("regression"), jets(6)
    module = system.module.train().to(torch.bfloat16)
    module(batch)
    assert module.backbone.normaliser.mean.dtype == torch.float32
    assert module.backbone.trunk.norm.weight.dtype == torch.bfloat16
    torch.testing.assert_close(module.backbone.normaliser.mean, batch.points.mean(0))


def test_a_frozen_backbone_keeps_its_statistics():
    backbone, hidden_of = backbone_of(MPM(**SMALL), None)
    backbone.train()
    hidden_of(jets(6))
    known = backbone.normaliser.mean.clone()
    assert bool(known.any())
    backbone.requires_grad_(requires_grad=False)
    hidden_of(jets(6, seed=1))
    assert torch.equal(backbone.normaliser.mean, known)


def test_what_it_reads():
    assert MPM(**SMALL).reads().codes == 16
    assert MPM(**SMALL).reads().per_point == ("token",)
    assert MPM(**SMALL, objectives={"clusters": 1.0}).reads().per_point == ()
    assert MPM(**SMALL, points=20).reads().most_points == 20
    assert MPM(**SMALL, points=20).reads_downstream().most_points is None
    stored = {"px": np.array([3.0]), "py": np.array([4.0])}
    assert columns_of(("log_squash_pt",), stored, np.array([0, 1])).item() == np.float32(np.log(6))


class Jets(Subject):
    """Two batches of jets, without a store."""

    def batches(self):
        return (jets(BATCH_EVENTS, seed=seed) for seed in range(100, 102))


def trained(system, steps):
    """Train `system` on jets made anew at each step; return its losses."""
    optimiser = torch.optim.Adam(system.module.train().parameters(), lr=3e-3)
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        batch = jets(16, seed=step)
        loss, _ = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_and_a_probe_shows_it(task, tmp_path):
    """Seconds on one core."""
    system, found = made(task), []
    for steps in (1, 160):
        losses = trained(system, steps)
        torch.manual_seed(0)
        module, cpu = system.module.eval(), torch.device("cpu")
        found.append(probe(Jets(module.model, system, None, None, cpu, 1, tmp_path)))
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    before, after = found
    assert set(after.scores) == set(after.about)
    if task == "regression":
        assert after.scores["error_deta"] < 0.6 < before.scores["error_deta"]
        return
    name = f"accuracy_{task}"
    assert after.scores[name] > after.scores[f"{name}_most_frequent"] > before.scores[name]
    low, high = after.intervals[name]
    assert low < after.scores[name] < high


def tokenizer(**asked):
    torch.manual_seed(0)
    sizes = {"codes": 32, "width": 16, "inner": 16, "heads": 2, "layers": 1, "dropout": 0.0}
    return systems.build(MPMVQVAE(**(sizes | asked)), None)


def test_features_are_those_of_all_tokenizers_there_and_back():
    features = feature_batch(6).points
    inputs = squashed(features)
    pt = (features[:, 0].double() + 1.8).exp()
    torch.testing.assert_close(inputs[:, 2].double(), pt.log1p(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(inputs[:, :2], features[:, 1:] / 3)
    torch.testing.assert_close(unsquashed(inputs), features, rtol=1e-4, atol=1e-4)
    assert unsquashed(torch.tensor([[0.0, 0.0, -3.0]])).isfinite().all()


def test_the_tokenizer_learns_and_its_codes_stand_for_jets():
    """Seconds on one core."""
    system = tokenizer()
    module = system.module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step)
        batch = feature_batch(16, seed=step)
        loss, parts = system.objective(module(batch), batch)
        assert list(parts) == ["reconstruction", "commitment"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(parts["reconstruction"].detach()))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    module.eval()
    batch = feature_batch(8, seed=100)
    codes = module.encode(batch.points, batch.offsets)
    made = module.decode(codes, batch.offsets)
    true = batch.points
    assert codes.unique().numel() > 8
    assert (made - true).abs().mean() < 0.7 * (true - true.median(0).values).abs().mean()


def test_labels_of_the_authors_are_of_vectors_without_scale_and_shift():
    ours, theirs = (tokenizer(labels=labels).module.eval() for labels in ("codes", "raw"))
    batch = feature_batch(8)
    same = [each.encode(batch.points, batch.offsets) for each in (ours, theirs)]
    assert torch.equal(*same)
    for module in (ours, theirs):
        nn.init.constant_(module.quantiser.shift, 0.4)
    codes, raw = (each.encode(batch.points, batch.offsets) for each in (ours, theirs))
    assert not torch.equal(codes, raw)
    moved, vectors = theirs.quantiser.codebook, theirs.quantiser.vectors
    assert torch.equal(raw, torch.cdist(moved, vectors).argmin(1)[codes])


def test_the_price_of_a_code_can_be_a_mean_over_jets():
    system = tokenizer(objectives={"commitment_per_jet": 1.0})
    batch = feature_batch(5)
    output = system.module(batch)
    _, parts = system.objective(output, batch)
    means = [output.commitment[batch.event == jet].mean() for jet in range(5)]
    torch.testing.assert_close(parts["commitment_per_jet"], torch.stack(means).mean())
