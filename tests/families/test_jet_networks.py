"""Models of the class of a jet: their counts, what they may not depend on, and that they learn."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from made_batches import part
from made_jet_batches import SIZES, jet_batch, shuffled
from pydantic import ValidationError

from pipeline.data.errors import BadInput
from pipeline.downstream.jets.spec import JetTask
from pipeline.families.deepsets.spec import DeepSets
from pipeline.families.part.spec import ParT
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn import systems
from pipeline.nn.classifier import Classifier
from pipeline.nn.lengths import Lengths
from pipeline.nn.neighbours import Edges, nearest, padded
from pipeline.nn.norms import BatchNorm
from pipeline.training.engine.activation_checkpointing import checkpoint_activations
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune

PART = {"embedding": (16,), "width": 16, "layers": 2, "heads": 2, "pair_widths": (8,)}
NET = {"widths": (8, 12), "neighbours": 4, "inner": 16}
SMALL = {
    "part": ParT(**PART, classes=2, dropout=0),
    "plain": ParT(**PART, classes=2, dropout=0, interaction="", norm="layer"),
    "kin": ParT(**PART, classes=2, dropout=0, inputs="kin"),
    "sophon": ParT(**PART, classes=2, dropout=0, bias_activation=False, class_widths=(12,)),
    "particlenet": ParticleNet(**NET, classes=2, dropout=0),
    "layer norm": ParticleNet(**NET, classes=2, dropout=0, norm="layer"),
    "deepsets": DeepSets(phi=(16, 24), f=(16,), classes=2),
}
every = pytest.mark.parametrize("name", SMALL)
TWO = JetTask(classes=("QCD", "top"), pooling="token")
PUBLISHED = [
    (ParT(size="full"), 2_143_486),
    (ParT(size="kinpid"), 2_142_958),
    (ParT(size="kin"), 2_142_166),
    (ParT(size="plain"), 2_133_918),
    (ParticleNet(size="full"), 370_156),
    (ParticleNet(size="kin", classes=2), 366_160),
    (DeepSets(size="jetclass"), 86_154),
    (DeepSets(size="pfn"), 84_666),
]


def made(name):
    torch.manual_seed(0)
    return systems.build(SMALL[name], None)


def settled(module, data):
    """The module in evaluation, its running means those of `data`."""
    for _ in range(60):
        module.train()(data)
    return module.eval()


def counted(module):
    return sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize(("model", "count"), PUBLISHED, ids=lambda each: str(each)[:40])
def test_published_counts(model, count):
    with torch.device("meta"):
        assert counted(systems.build(model, None).module) == model.parameters().trained == count


@every
def test_the_declaration_knows_the_count_of_every_variant(name):
    assert counted(made(name).module) == SMALL[name].parameters().trained


def test_the_products_of_a_jet_of_128_are_those_of_the_papers_table():
    """arXiv:2202.03772, table 3: 340 and 260 million of ParT, 540 of ParticleNet, 4.62 of PFN."""
    assert sum(ParT(size="full").products(128)) == pytest.approx(340e6, rel=0.02)
    assert sum(ParT(size="plain").products(128)) == pytest.approx(260e6, rel=0.01)
    assert DeepSets(size="jetclass").flops_per_token(128) * 128 / 6 == pytest.approx(
        4.62e6, rel=0.05
    )
    sizes = (17, 64, 128, 256)
    published = sum(16 * (2 * a * b + 2 * b * b) + a * b for a, b in pairwise(sizes))
    assert published * 128 == pytest.approx(540e6, rel=0.02)
    ours = ParticleNet(size="full").flops_per_token(128) / 6
    saved = sum(16 * 2 * a * b - 2 * a * b for a, b in pairwise(sizes))
    assert ours == pytest.approx(published - saved, rel=0.01)


@every
def test_another_jet_changes_nothing(name):
    module, batch = made(name).module, jet_batch(SMALL[name])
    settled(module, batch)
    whole = module(batch)
    for jet in range(len(SIZES)):
        torch.testing.assert_close(
            whole[jet : jet + 1], module(part(batch, [jet])), rtol=1e-4, atol=1e-5
        )


@every
def test_a_jet_of_infinite_constituents_spoils_itself_alone(name):
    module, batch = made(name).module, jet_batch(SMALL[name])
    settled(module, batch)
    before = module(batch)
    batch.points[batch.event == 2] = torch.nan
    after = module(batch)
    rest = [jet for jet in range(len(SIZES)) if jet != 2]
    assert after[2].isnan().all()
    torch.testing.assert_close(after[rest], before[rest])


@every
def test_the_order_of_constituents_is_nothing(name):
    module, batch = made(name).module, jet_batch(SMALL[name])
    settled(module, batch)
    points, events = module.backbone(batch)
    other, rows = shuffled(batch)
    moved, again = module.backbone(other)
    torch.testing.assert_close(again, events, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moved, points[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "layer norm", "deepsets"])
def test_without_batch_norm_a_jet_is_by_itself_in_training_too(name):
    module, batch = made(name).module.train(), jet_batch(SMALL[name])
    torch.testing.assert_close(module(part(batch, [2])), module(batch)[2:3], rtol=1e-4, atol=1e-5)


@every
def test_the_loss_falls(name):
    system, batch = made(name), jet_batch(SMALL[name], SIZES[:6] * 4)
    optimiser = torch.optim.AdamW(system.module.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss, parts = system.objective(system.module(batch), batch)
        assert parts.keys() == {"class"}
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


def test_pairs_matter():
    module, batch = made("part").module, jet_batch(SMALL["part"])
    settled(module, batch)
    before = module(batch)
    batch.points[0, -1] *= 3  # an energy, which pairs alone are made of
    moved = (module(batch) - before).abs().sum(1) > 0
    assert moved.tolist() == [True] + [False] * (len(SIZES) - 1)


@every
def test_it_trains_in_half_precision(name):
    system, batch = made(name), jet_batch(SMALL[name])
    system.module.bfloat16()
    loss, _ = system.objective(system.module(batch), batch)
    loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in system.module.parameters())
    norms = [each for each in system.module.modules() if isinstance(each, BatchNorm)]
    assert all(each.running_variance.dtype == torch.float32 for each in norms)


@every
def test_labels_are_never_given_to_the_backbone(name):
    model = SMALL[name]
    assert model.reads().per_event == ("label",)
    assert model.reads_downstream().per_event == ()
    assert model.reads().physical
    batch = jet_batch(model)
    blind = type(batch)(batch.points, batch.offsets, batch.event_id)
    module = made(name).module.eval()
    assert torch.equal(module(blind), module(batch))


def test_a_label_beyond_the_classes_is_told_by_name():
    system, batch = made("deepsets"), jet_batch(SMALL["deepsets"], classes=3)
    with pytest.raises(BadInput, match="labels from 0 to 2; the model predicts 2 classes"):
        system.objective(system.module(batch), batch)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "sophon"])
def test_the_published_head_is_the_layer_of_pretraining(name):
    model = SMALL[name]
    torch.manual_seed(0)
    whole, batch = Downstream(model, TWO), jet_batch(model)
    pretrained = made(name).module
    assert isinstance(pretrained, Classifier)
    whole.backbone.load_state_dict(pretrained.backbone.state_dict())
    whole.head.classes.load_state_dict(pretrained.classes.state_dict())
    torch.testing.assert_close(whole.eval()(batch), pretrained.eval()(batch))


@every
@pytest.mark.parametrize("pooling", ["sum", "class-attention", "attention", "token", "mean"])
def test_heads_of_jets_go_on_it_in_every_mode(name, pooling):
    model = SMALL[name]
    head, batch = JetTask(classes=("QCD", "top"), pooling=pooling, heads=1), jet_batch(model)
    bare = Downstream(model.model_copy(update={"layers": 0}), head)
    whole = Downstream(model, head)
    assert {n for n, _ in bare.head.named_parameters()} == {
        n for n, _ in whole.head.named_parameters()
    }
    for each in (bare, whole):
        losses = head.module().loss(each(batch), batch, head)
        losses["class"].backward()
        assert all(p.grad is not None for p in each.head.parameters())


def test_what_is_frozen_keeps_its_running_means():
    model = SMALL["particlenet"]
    whole, batch = Downstream(model, TWO).train(), jet_batch(model)
    whole.backbone.requires_grad_(False)
    before = {name: each.clone() for name, each in whole.backbone.state_dict().items()}
    frozen = whole(batch)
    after = whole.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    torch.testing.assert_close(frozen, whole.eval()(batch))


def test_low_rank_changes_reach_what_is_used_as_a_matrix():
    model = SMALL["particlenet"]
    whole, batch = Downstream(model, TWO).eval(), jet_batch(model)
    before = whole(batch)
    finetune.lora.adapt(whole.backbone, 2)
    torch.testing.assert_close(whole(batch), before)
    with torch.no_grad():
        whole.backbone.layers[0].first.parametrizations.weight[0].up.normal_()
    assert not torch.allclose(whole(batch), before)


@pytest.mark.parametrize("sizes", [[1], [2, 1, 1, 6], [4, 4, 9, 1], [30]], ids=str)
def test_neighbours_are_the_nearest_of_the_event(sizes):
    points, lengths = torch.rand(sum(sizes), 3), Lengths.of(torch.tensor([0, *sizes]).cumsum(0))
    event = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    found = nearest(points, lengths, 4)
    expected = set()
    for row in range(len(points)):
        away = (points - points[row]).norm(dim=1)
        away[event != event[row]] = torch.inf
        away[row] = torch.inf if sizes[int(event[row])] > 1 else 0
        count = min(4, max(sizes[int(event[row])] - 1, 1))
        expected |= {(row, other) for other in away.topk(count, largest=False).indices.tolist()}
    for near in (found.near, padded(points, lengths, found.lengths, 4)):
        assert set(zip(found.point.tolist(), near.tolist(), strict=True)) == expected
        assert len(near) == len(expected)


def test_edge_convolution_is_what_the_paper_says():
    torch.manual_seed(0)
    layer = systems.build(SMALL["layer norm"], None).module.backbone.layers[0]
    x, edges = (
        torch.randn(5, 17),
        Edges(torch.tensor([1, 2, 0, 3, 4, 0]), Lengths.of(torch.tensor([0, 2, 3, 4, 5, 6]))),
    )
    found = layer(x, edges)
    rows = []
    for row in range(5):
        messages = []
        for point, near in zip(edges.point.tolist(), edges.near.tolist(), strict=True):
            if point == row:
                message = torch.cat([x[row], x[near] - x[row]])
                for linear, norm in zip((layer.first, *layer.further), layer.norms, strict=True):
                    message = norm(linear(message)).relu()
                messages.append(message)
        past = layer.norm_shortcut(layer.shortcut(x[row]))
        rows.append((past + torch.stack(messages).mean(0)).relu())
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-4, atol=1e-5)


def test_batch_norm_is_torchs():
    ours, theirs = BatchNorm(3), torch.nn.BatchNorm1d(3)
    for _ in range(3):
        x = torch.randn(7, 3) * 2 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="no multiple of heads"):
        ParT(width=10, heads=4)
    with pytest.raises(ValidationError, match="leave out `layers`"):
        ParticleNet(widths=(8, 8), layers=3)
    with pytest.raises(ValidationError, match="'pets' is none of jets"):
        ParT(interaction="pets")
    assert ParticleNet(widths=(8, 8)).layers == 2
    assert DeepSets(phi=(8,)).layers == 1


def test_a_users_own_interaction_reads_its_columns(tmp_path):
    file = tmp_path / "pairs.py"
    file.write_text("def near(a, b):\n    return (a - b).norm(dim=-1, keepdim=True).log1p()\n")
    mine = {"function": f"{file}:near", "columns": ("deta", "log_pt"), "features": 1}
    model = ParT(**PART, classes=2, dropout=0, interaction=mine)
    assert model.reads().columns[-2:] == ("dphi", "log_pt")
    batch = jet_batch(model)
    module = systems.build(model, None).module
    assert counted(module) == model.parameters().trained
    assert module(batch).isfinite().all()


@pytest.mark.parametrize("name", ["plain", "part", "particlenet"])
def test_blocks_that_are_computed_again_have_the_same_slopes(name):
    slopes = []
    for again in (False, True):
        system, batch = made(name), jet_batch(SMALL[name])
        if again:
            checkpoint_activations(system.module)
        loss, _ = system.objective(system.module(batch), batch)
        loss.backward()
        slopes.append([each.grad for each in system.module.parameters()])
    for plain, recomputed in zip(*slopes, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no device: not compared")
@every
def test_a_gpu_answers_as_a_cpu(name):
    module, batch = made(name).module, jet_batch(SMALL[name])
    settled(module, batch)
    here = module(batch)
    there = module.cuda()(batch.to(torch.device("cuda")))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)
