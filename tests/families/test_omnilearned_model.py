"""OmniLearned: published counts, what each mode may see, and that it learns."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import packed, part, write_store
from made_flows import jet_batch, learned, order_within, permuted
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.campaign.cells import adapted
from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.data.readers.omnilearned_h5 import open_h5
from pipeline.families import Reads
from pipeline.families.interactions import Interaction
from pipeline.families.jet_columns import MOMENTUM, OFFSETS
from pipeline.families.omnilearned.module import backbone
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Noised
from pipeline.nn.interactions import jets, pet
from pipeline.training.engine.activation_checkpointing import checkpoint_activations

MODES = ("pretrain", "classifier", "generator", "ftag")
every_mode = pytest.mark.parametrize("mode", MODES)
TOP = {"mode": "classifier", "classes": 2, "kinds": 0, "additional": ()}


def counted(module):
    return sum(each.numel() for each in module.parameters())


def on_meta(model):
    with torch.device("meta"):
        return systems.build(model, None).module


def made(**changes):
    torch.manual_seed(0)
    model = learned(**changes)
    return model, systems.build(model, None)


@pytest.mark.parametrize(
    ("size", "pretrained", "top"),
    [
        ("small", 3_339_793, 2_708_917),
        ("medium", 59_911_461, None),
        ("large", 423_049_589, 373_687_443),
    ],
)
def test_published_counts(size, pretrained, top):
    model = OmniLearned(size=size)
    assert counted(on_meta(model)) == model.parameters().trained == pretrained
    if top is not None:
        model = OmniLearned(size=size, **TOP)
        assert counted(on_meta(model)) == model.parameters().trained == top


def test_a_conditional_generator_s_count():
    model = OmniLearned(
        size="small",
        mode="generator",
        classes=5,
        kinds=0,
        additional=(),
        interaction="",
        conditions=("jet.0", "jet.1", "multiplicity"),
    )
    assert counted(on_meta(model)) == model.parameters().trained == 1_869_106


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"interaction": ""},
        {"mode": "classifier", "interaction": "jets"},
        {"mode": "generator", "conditions": ("multiplicity",), "classes": 7},
        {"mode": "generator", "classes": 1},
        {"mode": "classifier", "kinds": 4, "kind": "data_pid", "tokens": 2, "ratio": 3},
        {"mode": "ftag", "ratio": 1, "conditions": ("jet.0",)},
        {"columns": ("x", "y", "z", "log_mass"), "near": ("x", "y", "z"), "interaction": ""},
    ],
)
def test_the_declaration_knows_the_count_of_every_variant(changes):
    model = learned(**changes)
    assert counted(on_meta(model)) == model.parameters().trained


def test_a_classifier_takes_pairs_of_momenta_beside_its_columns():
    model, system = made(mode="classifier", interaction="jets")
    assert model.reads().columns[:8] == (*OFFSETS, *MOMENTUM)
    batch = jet_batch(model)
    told = system.module.eval()(batch).logits
    batch.points[:, 4:8] *= 3
    assert not torch.equal(system.module(batch).logits, told)
    plain, _ = made(mode="classifier", interaction="")
    assert not set(MOMENTUM) & set(plain.reads().columns)


@every_mode
def test_flops_are_those_of_the_matrices(mode):
    model, system = made(mode=mode, nearest=3, conditions=("multiplicity",))
    batch = jet_batch(model, 1)
    counter = FlopCounterMode(display=False)  # of attention it counts the plain one alone
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        system.module.eval()(batch)
    points = len(batch.points)
    found = 3 * counter.get_total_flops() / points
    # The tokens' own attention is no product of matrices to the counter.
    keys = {"pretrain": 2 * points + 3, "classifier": points + 1, "ftag": points + 1}.get(mode, 0)
    glance = model.tokens * 2 * keys * model.width * model.head_layers
    expected = model.flops_per_token(points) - 6 * glance / points
    assert found == pytest.approx(expected, rel=1e-6)


@every_mode
def test_another_event_changes_nothing(mode):
    model, system = made(mode=mode)
    batch = jet_batch(model, 5)
    module, alone = system.module.eval(), part(batch, [3])
    if mode != "generator":
        found = module.logits(module.backbone(batch), batch)[3:4]
        torch.testing.assert_close(found, module.logits(module.backbone(alone), alone))
    rows = batch.event == 3
    if mode == "ftag":
        found = module(batch).of_points[rows]
        torch.testing.assert_close(found, module(alone).of_points)
    if model.noisy:
        noise, time = module.noise.drawn(batch, "noise"), torch.rand(5)
        whole = module.velocity(batch, noise, time)[rows]
        torch.testing.assert_close(whole, module.velocity(alone, noise[rows], time[3:4]))


def test_what_pads_a_file_cannot_change_the_output(tmp_path):
    _, system = made(mode="classifier", kinds=0, additional=())
    drawn = np.random.default_rng(0)
    told = []
    for most in (6, 20):
        data = drawn.normal(size=(3, most, 4)).astype(np.float32)  # rubbish, where nothing is
        data[:, :, 2] = 0
        for jet, size in enumerate((6, 1, 4)):
            data[jet, :size] = np.random.default_rng(jet).normal(size=(size, 4)) + 1
        path = tmp_path / f"{most}.h5"
        with h5py.File(path, "w") as file:
            file["data"] = data
        with open_h5(path) as entries:
            events, _ = entries.read(0, 3)
        batch = Batch(
            torch.from_numpy(events.points),
            torch.from_numpy(events.offsets),
            torch.from_numpy(events.event_id),
        )
        told.append(system.module.eval()(batch).logits)
    assert torch.equal(*told)


def test_order_changes_nothing_of_an_event_and_moves_its_points_along():
    model, system = made()
    batch = jet_batch(model)
    order = order_within(batch)
    assert not torch.equal(order, torch.arange(len(order)))
    module, other = system.module.eval(), permuted(batch, order)
    seen, moved = module.backbone(batch), module.backbone(other)
    torch.testing.assert_close(moved.points, seen.points[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved.tokens, seen.tokens, rtol=1e-4, atol=1e-5)
    noise, time = module.noise.drawn(batch, "noise"), torch.rand(len(batch.sizes))
    told = module.velocity(batch, noise, time)
    after = module.velocity(other, noise[order], time)
    torch.testing.assert_close(after, told[order], rtol=1e-4, atol=1e-5)


def test_pairs_are_those_of_massless_momenta():
    made_up = torch.Generator().manual_seed(0)
    deta, dphi, log_pt = torch.rand(3, 40, generator=made_up, dtype=torch.float64)
    pt, points = log_pt.exp(), torch.stack([deta, dphi, log_pt], 1)
    momenta = torch.stack([pt * dphi.cos(), pt * dphi.sin(), pt * deta.sinh(), pt * deta.cosh()], 1)
    log_m2, log_distance, log_kt = pet(points[:20], points[20:]).unbind(1)
    kt, _, distance, m2 = jets(momenta[:20], momenta[20:]).unbind(1)
    for found, expected in ((log_m2, m2), (log_distance, distance), (log_kt, kt)):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(pet(points[:20], points[20:]), pet(points[20:], points[:20]))
    assert not pet(points, points).any(), "a particle with itself"
    turned = points[:1] + 2 * torch.pi * torch.eye(3, dtype=torch.float64)[1]
    assert not torch.allclose(pet(turned, points[1:2]), pet(points[:1], points[1:2]))
    near = points[:1].float() + torch.tensor([1e-5, 0, 0])
    away = (near[0, 0] - points[0, 0].float()).double()
    found = pet(near, points[:1].float())[0]
    expected = 2 * points[0, 2].float() + 2 * away.log()
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-6, atol=0)


def test_blocks_computed_again_give_the_same_slopes():
    slopes = []
    for again in (False, True):
        model, system = made()
        batch = jet_batch(model)
        if again:
            checkpoint_activations(system.module)
        torch.manual_seed(1)
        system.objective(system.module(batch), batch)[0].backward()
        slopes.append([each.grad for each in system.module.parameters()])
    for once, twice in zip(*slopes, strict=True):
        torch.testing.assert_close(once, twice)


def test_a_store_of_tracks_is_refused_by_name(tmp_path):
    store = write_store(tmp_path / "tracks.zarr")
    with pytest.raises(BadInput, match="experiment 'sphenix' with columns energy, eta, phi, r"):
        Selection(store, "train", learned().reads()).open()


def with_labels(batch, label):
    return Batch(batch.points, batch.offsets, batch.event_id, batch.per_point, {"label": label})


def test_the_label_reaches_the_generator_and_no_classifier():
    model, system = made()
    batch = jet_batch(model)
    other = with_labels(batch, 1 - batch.per_event["label"])
    told = []
    for each in (batch, other):
        torch.manual_seed(1)
        told.append(system.module.eval()(each))
    assert torch.equal(told[0].logits, told[1].logits)
    assert torch.equal(told[0].in_noise, told[1].in_noise)
    assert not torch.equal(told[0].flow.predicted, told[1].flow.predicted)
    one, system = made(mode="generator", classes=1)
    assert one.reads().per_event == ()


def test_what_is_known_of_a_point_is_shown_in_noise_and_hidden_where_points_are_generated():
    model, system = made()
    batch = jet_batch(model)
    other = Batch(batch.points.clone(), batch.offsets, batch.event_id, {}, batch.per_event)
    other.points[:, 4:] = 1 - other.points[:, 4:]
    module = system.module.eval()
    assert not torch.equal(module.backbone(batch).points, module.backbone(other).points)
    noise, time = module.noise.drawn(batch, "noise"), torch.rand(len(batch.sizes))
    told = [module.velocity(each, noise, time) for each in (batch, other)]
    assert torch.equal(*told)
    seen = Noised(noise[:, :4], time, noise[:, :4])
    told = [module.backbone(each, seen).points for each in (batch, other)]
    assert not torch.equal(*told)


def test_in_training_a_share_of_events_goes_without_what_is_known_of_their_points():
    model, system = made(known_dropout=0.5)
    batch, body = jet_batch(model, 40), system.module.backbone
    shown, hidden = body.eval()(batch).points, body(batch, known=False).points
    torch.manual_seed(0)
    drawn = body.train()(batch).points
    as_shown, as_hidden = (torch.isclose(drawn, each).all(1).double() for each in (shown, hidden))
    assert (as_shown + as_hidden == 1).all()
    of_events = torch.zeros(40, dtype=torch.float64).index_add(0, batch.event, as_shown)
    assert ((of_events == 0) | (of_events == batch.sizes)).all()
    assert 10 < int((of_events > 0).sum()) < 30


def test_in_noise_the_points_themselves_are_seen_through_z_alone():
    model, system = made()
    batch = jet_batch(model)
    noise, time = system.module.noise.drawn(batch, "noise"), torch.rand(len(batch.sizes))
    other = Batch(batch.points + 1, batch.offsets, batch.event_id, {}, batch.per_event)
    module = system.module.eval()
    assert torch.equal(*(module.velocity(each, noise, time) for each in (batch, other)))


def test_kinds_are_places_among_sorted_pdg_codes():
    model, system = made()
    batch = jet_batch(model, 1)
    names = model.reads().columns
    points = torch.zeros(9, len(names))
    flags = [f"is{name}" for name in ("ChargedHadron", "NeutralHadron", "Photon")]
    flags += ["isElectron", "isMuon"]
    # -211, -13, -11, 0, 11, 13, 22, 130, 211
    rows = [(0, 0, -1), (1, 4, 1), (2, 3, 1), (4, 3, -1), (5, 4, -1), (6, 2, 0), (7, 1, 0)]
    for row, flag, charge in [*rows, (8, 0, 1)]:
        points[row, names.index(flags[flag])] = 1
        points[row, names.index("charge")] = charge
    told = system.module.backbone._kind(Batch(points, torch.tensor([0, 9]), batch.event_id))
    assert told.tolist() == list(range(9))


def test_kinds_and_additional_columns_of_the_authors_files_are_columns_of_an_array():
    given = {"kind": "features.0", "additional": ("features.1", "features.3")}
    model, system = made(mode="classifier", **given)
    reads = model.reads()
    assert (reads.columns, reads.per_point) == (OFFSETS, ("features",))
    batch = jet_batch(learned(mode="classifier", kinds=0, additional=()))
    features = torch.rand(len(batch.points), 4)
    features[:, 0] = torch.arange(len(batch.points)) % 9
    batch = Batch(*first_of(batch), {"features": features}, batch.per_event)
    kinds = {"kinds_of": features[:, 0].long()}
    other, plain = made(mode="classifier", kind="kinds_of", additional=("d0", "dz"))
    plain.module.load_state_dict(system.module.state_dict())
    columns = torch.cat([batch.points, features[:, [1, 3]]], 1)
    same = Batch(columns, batch.offsets, batch.event_id, kinds, batch.per_event)
    assert other.reads().columns == (*OFFSETS, "d0", "dz")
    told = system.module.eval()(batch).logits
    torch.testing.assert_close(told, plain.module.eval()(same).logits)
    narrow = Batch(*first_of(batch), {"features": features[:, :2]}, batch.per_event)
    with pytest.raises(BadInput, match=r"features\.3: the array features of points has 2 columns"):
        system.module(narrow)


def first_of(batch):
    """What every batch has."""
    return batch.points, batch.offsets, batch.event_id


def test_kinds_and_labels_that_are_none_are_told_by_name():
    model, system = made(kinds=4, kind="data_pid")
    batch = jet_batch(model)
    kinds = Batch(
        batch.points,
        batch.offsets,
        batch.event_id,
        {"data_pid": torch.full((len(batch.points),), 4)},
        batch.per_event,
    )
    with pytest.raises(BadInput, match="data_pid: kinds from 4 to 4; the model has 4"):
        system.module(kinds)
    model, system = made()
    wrong = with_labels(jet_batch(model), torch.tensor([0, 1, 0, 1, 0, 2]))
    with pytest.raises(BadInput, match="labels from 0 to 2; the model has 2 classes"):
        system.objective(system.module(wrong), wrong)


def test_jets_of_one_and_two_particles():
    model, system = made()
    points = jet_batch(model).points[:3]
    label = {"label": torch.tensor([0, 1])}
    few = Batch(points, torch.tensor([0, 1, 3]), torch.arange(2), {}, label)
    told = system.module.eval()(few)
    assert torch.isfinite(told.logits).all()
    assert torch.isfinite(told.flow.predicted).all()
    alone = Batch(
        points[:1], torch.tensor([0, 1]), torch.arange(1), {}, {"label": label["label"][:1]}
    )
    torch.testing.assert_close(system.module(alone).logits, told.logits[:1])


def test_each_seed_and_each_epoch_draws_noise_of_its_own():
    model, system = made()
    batch, losses = jet_batch(model), []
    for seed, epoch in ((1, 0), (1, 0), (2, 0), (1, 1)):
        here = replace(batch, seed=seed, epoch=torch.full_like(batch.event_id, epoch))
        losses.append(system.objective(system.module(here), here)[0].item())
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3


@every_mode
def test_the_loss_falls(mode):
    model, system = made(mode=mode)
    batch = jet_batch(model, 24)
    optimiser = torch.optim.AdamW(system.module.parameters(), 3e-3)

    def losses():
        torch.manual_seed(3)
        with torch.no_grad():
            return system.objective(system.module(batch), batch)[1]

    before = losses()
    for _ in range(60):
        loss, _ = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = losses()
    assert len(before) == len(model.objective_weights)
    for name, loss in after.items():
        assert loss < (0.9 if name == "flow" else 0.75) * before[name], name


def test_all_weights_learn_in_half_precision():
    model, system = made()
    system.module.bfloat16()
    batch = jet_batch(model)
    system.objective(system.module(batch), batch)[0].backward()
    for name, each in system.module.named_parameters():
        assert each.grad is not None, name
        assert torch.isfinite(each.grad).all(), name


def test_heads_are_given_points_and_tokens_and_without_layers_points_alone():
    model = learned()
    batch = jet_batch(model)
    _, look = backbone(model, None)
    hidden = look(batch)
    assert hidden.points[0].shape == (len(batch.points), 16)
    assert hidden.events.shape == (6, model.event_width) == (6, 64)
    assert model.reads_downstream().per_event == ()
    bare, look = backbone(model.model_copy(update={"layers": 0}), None)
    hidden = look(batch)
    assert hidden.events is None
    hidden.points[0].sum().backward()
    assert all(each.grad is not None for each in bare.parameters())


def test_a_backbone_of_jets_takes_other_columns_and_pairs_of_the_same_shapes(tmp_path):
    code = tmp_path / "halos.py"
    code.write_text(
        "def pairs(a, b):\n"
        "    return (a - b).square().sum(-1, keepdim=True).expand(*a.shape[:-1], 3)\n"
    )
    own = Interaction(function=f"{code}:pairs", columns=("x", "y", "z"), features=3)
    of_jets = learned()
    asked = {
        "columns": ("x", "y", "z", "log_mass"),
        "near": ("x", "y", "z"),
        "normalised": True,
        "shown": False,
    }
    other = adapted(of_jets, {**asked, "interaction": own})
    assert other.architecture == of_jets.architecture
    with pytest.raises(ValueError, match="interaction: 0, where the pretrained weights are of 3"):
        adapted(of_jets, {**asked, "interaction": ""})
    assert other.moments == ((0.0, 1.0),) * 4
    assert not other.reads().physical
    assert other.reads_downstream() == Reads(columns=asked["columns"])
    other_backbone, look = backbone(other, None)
    other_backbone.load_state_dict(backbone(of_jets, None)[0].state_dict())
    batch = packed([5, 9])
    assert torch.isfinite(look(batch).events).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interaction": "jets"}, "would stay without noise"),
        ({"near": ("px",)}, "distances are taken in some of the columns"),
        ({"heads": 3}, "no even multiple of 3 heads"),
        ({"mode": "classifier", "objectives": {"flow": 1.0}}, "has classes"),
        ({"classes": 1}, "needs two or more"),
        ({"kinds": 5}, "of charges and flags there are 9"),
        ({"mode": "ftag", "point_classes": 1}, "needs two or more, others none"),
        ({"point_classes": 3}, "needs two or more, others none"),
        ({"mode": "ftag", "point_classes": 3, "objectives": {"flow": 1.0}}, "has classes, points"),
        ({"noise": ((0.0, 1.0),)}, "noise of 1 columns; there are 4"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        learned(**changes)
