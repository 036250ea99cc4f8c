"""Downstream tasks: each learns, tells what it should, and is scored; and what each mode trains."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import MODEL, batch, part
from made_constituents import feature_batch
from made_neutrinos import geometry, pulses, small
from pydantic import ValidationError

from pipeline.campaign import FinetuneTask, Training
from pipeline.data.errors import BadInput
from pipeline.data.preparation.directions import unit_vectors
from pipeline.downstream import TASKS
from pipeline.downstream.anomaly.spec import AnomalyTask
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.direction.score import charge_weighted
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.downstream.edges.spec import EdgeTask
from pipeline.downstream.jets.score import NO_CLASS, classes_of
from pipeline.downstream.jets.spec import JetTask
from pipeline.downstream.momentum.spec import MomentumTask
from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.particles.spec import ParticleTask
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.downstream.truth import Truth
from pipeline.downstream.values.spec import ValueTask
from pipeline.downstream.vertices.spec import VertexTask
from pipeline.evaluation.directions import opening_angles
from pipeline.families.eggnet.spec import EggNet
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn.hidden import Hidden
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune

JETS = OmniJet(codes=32, width=16, layers=2, heads=2, inputs="continuous")
EGGNET = EggNet(
    width=16, iterations=2, layers=2, depth=2, neighbours=4, dimensions=8, random_pairs=300
)
EXATRKX = ExaTrkX(width=16, layers=2, depth=2, embedding_width=16, filter_width=16, neighbours=6)
TWO = ("QCD", "top")


def points():
    """Events whose points say by their first column what they are."""
    made = batch([30, 5, 41, 12])
    pid = (made.points[:, 0] * 5).long()
    pt_gev = torch.where(pid == 0, 0.0, 0.2 + made.points[:, 1])
    truth = {"pid": pid, "noise": pid == 0, "pt_gev": pt_gev}
    return replace(made, per_point={**made.per_point, **truth})


def jets():
    """Jets of two classes that differ in how many constituents they have."""
    made = feature_batch(12)
    label = (made.sizes > made.sizes.median()).long()
    side = (made.points[:, 1] > 0).long()
    return replace(
        made,
        per_event={"label": label, "length": made.sizes.float()},
        per_point={**made.per_point, "vertex": side, "charge": made.index_in_event % 4 - 1},
    )


HEAD_OF = {
    "tracks": (TrackTask(queries=8, width=16, layers=1, heads=2), MODEL, points),
    "clusters": (ClusterTask(width=16, dimensions=8, random_pairs=300), EGGNET, points),
    "edges": (EdgeTask(width=16, depth=2), EXATRKX, points),
    "particles": (ParticleTask(width=16, heads=2), MODEL, points),
    "noise": (NoiseTask(width=16, heads=2), MODEL, points),
    "momentum": (MomentumTask(width=16, heads=2), MODEL, points),
    "jets": (JetTask(classes=TWO), JETS, jets),
    "vertices": (VertexTask(width=16, dimensions=4), JETS, jets),
    "values": (ValueTask(targets={"length": (14.0, 4.0)}, inner=32), JETS, jets),
    "anomaly": (AnomalyTask(classes=TWO, signal=("top",), fraction=0.6), JETS, jets),
    "direction": (DirectionTask(inner=32), small(), lambda: pulses([9, 30, 4])),
}
every_task = pytest.mark.parametrize("task", HEAD_OF)


def made(task):
    head, model, data = HEAD_OF[task]
    torch.manual_seed(0)
    return Downstream(model, head), head, data()


def summed(model, head, data):
    losses = head.module().loss(model(data), data, head)
    return torch.stack(list(losses.values())).sum()


def test_every_declared_task_is_tested_here():
    assert HEAD_OF.keys() == TASKS.keys() - {"custom"}, "test_custom_task.py has that"


@every_task
def test_a_task_learns(task):
    model, head, data = made(task)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = summed(model, head, data).item()
    for _ in range(60):
        optimiser.zero_grad()
        summed(model, head, data).backward()
        optimiser.step()
    assert summed(model, head, data).item() < 0.85 * first


@every_task
def test_the_loss_is_a_mean_over_events_however_they_are_shared_out(task):
    model, head, data = made(task)
    whole = summed(model, head, data)
    number = len(data.sizes)
    alone = [summed(model, head, part(data, [each])) for each in range(number)]
    torch.testing.assert_close(torch.stack(alone).mean(), whole, rtol=1e-3, atol=1e-4)


@every_task
def test_what_is_told_of_an_event_does_not_depend_on_its_company(task):
    model, head, data = made(task)
    model.eval()
    predict = head.module().predict
    whole = predict(model(data), data, head)
    first = part(data, [0])
    for name, alone in predict(model(first), first, head).items():
        torch.testing.assert_close(whole[name][: len(alone)], alone, rtol=1e-3, atol=1e-4)


@every_task
def test_what_is_told_can_be_scored(task):
    model, head, data = made(task)
    told = {
        n: v.detach().numpy() for n, v in head.module().predict(model(data), data, head).items()
    }
    look = head.scoring().score(told, truth_of(data), head, 1)
    missing = set(head.SCORES) - look.scores.keys() - {"rejection_50", "rejection_30"}
    assert not missing, "a table of results would have a column that is empty"
    assert look.intervals


def truth_of(data):
    arrays = {name: each.numpy() for name, each in data.per_point.items()}
    columns = {4: ("energy", "eta", "phi", "r"), 3: ("log_pt", "deta", "dphi")}
    return Truth(
        source="made",
        verified=True,
        per_point=arrays,
        per_event={name: each.numpy() for name, each in data.per_event.items()},
        tables={"geometry": geometry().numpy()},
        offsets=data.offsets.numpy(),
        event_id=data.event_id.numpy(),
        points=data.points.numpy(),
        columns=columns.get(data.points.shape[1], ("time", "charge")),
    )


def asked(mode):
    head, model, _ = HEAD_OF["jets"]
    training = Training(
        events_seen=8, batch_events=4, learning_rate=1e-3, checkpoint_events=4, walltime_minutes=1
    )
    return FinetuneTask(
        key="finetune/x",
        seed=3,
        mode=mode,
        model=model,
        head=head,
        lora_rank=2,
        store="x",
        split="train",
        labels=8,
        training=training,
    )


def trainable(mode):
    model = finetune.network(asked(mode))
    finetune.adapt(model, asked(mode))
    return model, {name for name, each in model.named_parameters() if each.requires_grad}


def test_each_mode_trains_what_it_says():
    whole = {name for name, _ in finetune.network(asked("full")).named_parameters()}
    heads = {name for name in whole if name.startswith("head.")}
    assert trainable("full")[1] == trainable("scratch")[1] == whole
    assert trainable("frozen")[1] == heads
    adapted = trainable("lora")[1] - heads
    assert adapted
    assert all(".parametrizations.weight.0." in name for name in adapted)


@every_task
def test_a_head_alone_learns_too(task):
    head, model, data = HEAD_OF[task]
    bare, batch = Downstream(model.model_copy(update={"layers": 0}), head), data()
    whole = Downstream(model, head)
    assert not [
        name for name, _ in bare.named_parameters() if ".layers." in name or "blocks" in name
    ]
    assert {name for name, _ in bare.head.named_parameters()} == {
        name for name, _ in whole.head.named_parameters()
    }
    summed(bare, head, batch).backward()
    assert all(each.grad is not None for each in bare.head.parameters())


def test_low_rank_changes_begin_with_nothing_and_are_of_the_rank_asked():
    plain, (adapted, _) = finetune.network(asked("full")).eval(), trainable("lora")
    data = jets()
    torch.testing.assert_close(adapted.eval()(data), plain(data))
    change = adapted.backbone.entry.parametrizations.weight[0]
    with torch.no_grad():
        change.up.normal_()
    difference = adapted.backbone.entry.weight - plain.backbone.entry.weight
    assert torch.linalg.matrix_rank(difference).item() == 2


def test_the_head_starts_the_same_in_all_modes_of_a_seed():
    heads = [trainable(mode)[0].head.state_dict() for mode in ("frozen", "lora", "scratch")]
    for other in heads[1:]:
        assert all(torch.equal(heads[0][name], other[name]) for name in heads[0])


def test_the_attention_head_sees_all_constituents_of_its_jet_and_no_other():
    head = JetTask(classes=TWO, pooling="attention", heads=2)
    torch.manual_seed(0)
    teller = head.module().build(head, JETS)
    data = jets()
    hidden = torch.rand(len(data.points), 16, requires_grad=True)
    teller(Hidden([hidden]), data)[1].sum().backward()
    seen = hidden.grad.abs().sum(1) > 0
    assert torch.equal(seen, data.event == 1)


def test_a_label_beyond_the_classes_is_told_by_name():
    head, model, _ = HEAD_OF["jets"]
    data = replace(jets(), per_event={"label": torch.full((12,), 7)})
    with pytest.raises(BadInput, match=r"labels from 7 to 7; the head has 2 classes: QCD, top"):
        summed(Downstream(model, head), head, data)


def test_a_focal_loss_without_exponent_is_cross_entropy():
    head = ParticleTask(gamma=0.0)
    data = part(points(), [0])
    logits = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    found = head.module().loss(logits, data, head)["focal"]
    expected = torch.nn.functional.cross_entropy(logits, data.per_point["pid"])
    torch.testing.assert_close(found, expected)
    less = head.module().loss(logits, data, ParticleTask(gamma=2.0))["focal"]
    assert less < found


def test_the_direction_s_loss_is_the_opening_angle():
    head, data = DirectionTask(), pulses([5, 8, 2])
    told = torch.nn.functional.normalize(torch.randn(3, 3), dim=1)
    azimuth, zenith = (data.per_event[name].numpy() for name in ("azimuth", "zenith"))
    angle = opening_angles(told.double().numpy(), unit_vectors(azimuth, zenith)).mean()
    found = head.module().loss(told, data, head)["angle"].item()
    assert found == pytest.approx(angle, abs=1e-3)


def test_points_without_a_known_momentum_teach_nothing():
    head, data = MomentumTask(), points()
    unknown = replace(data, per_point={**data.per_point, "pt_gev": torch.zeros(len(data.points))})
    told = torch.randn(len(data.points), 1)
    assert head.module().loss(told, unknown, head)["log_pt"].item() == 0
    with pytest.raises(ValueError, match="no point is of a particle of known momentum"):
        head.scoring().score({"log_pt": told[:, 0].numpy()}, truth_of(unknown), head, 1)


def test_a_muon_s_line_of_light_tells_the_trivial_guess_where_it_came_from():
    way = np.array([0.6, 0.0, -0.8])
    time = np.array([0.0, 1.0, 2.0, 5.0, 9.0])
    sensors = 100 * time[:, None] * way + np.array([10.0, 20.0, 30.0])
    truth = Truth(
        source="made",
        columns=("time", "charge"),
        per_point={"sensor_id": np.arange(5)},
        per_event={},
        tables={"geometry": sensors},
        offsets=np.array([0, 4, 5]),
        event_id=np.arange(2),
        points=np.stack([time, np.array([1.0, 3.0, 0.5, 2.0, 1.0])], 1).astype(np.float32),
    )
    found = charge_weighted(truth)
    np.testing.assert_allclose(found[0], -way, atol=1e-6)
    np.testing.assert_allclose(found[1], [0, 0, 1])


def test_jets_of_several_labels_are_one_class_and_others_are_left_out():
    head = JetTask(classes=("light", "b"), labels=((0, 3), (1,)))
    labels = np.array([0, 1, 2, 3, 9])
    assert classes_of(labels, head).tolist() == [0, 1, NO_CLASS, 0, NO_CLASS]
    data = replace(feature_batch(5), per_event={"label": torch.from_numpy(labels)})
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    told = head.module().loss(logits, data, head)["class"]
    by_hand = -logits.log_softmax(-1)[[0, 1, 3], [0, 1, 0]].sum() / 5
    torch.testing.assert_close(told, by_hand)
    truth = truth_of(data)
    probabilities = logits.softmax(-1).numpy()
    scores = head.scoring().score({"probabilities": probabilities}, truth, head, 1).scores
    right = probabilities.argmax(1)[[0, 1, 3]] == [0, 1, 0]
    assert scores["accuracy"] == pytest.approx(right.mean())


@pytest.mark.parametrize("labels", [((0,),), ((0,), (0, 1)), ((), (1,))])
def test_labels_that_do_not_fit_the_classes_are_refused(labels):
    with pytest.raises(ValidationError, match="give those of each of the 2 classes, each once"):
        JetTask(classes=TWO, labels=labels)
