"""Signal found without labels: what is mixed, that labels are not seen, and that it is learned."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_jet_batches import jet_batch
from pydantic import ValidationError

from pipeline.data.errors import BadInput
from pipeline.downstream.anomaly import module as anomaly
from pipeline.downstream.anomaly import score as scoring
from pipeline.downstream.anomaly.spec import AnomalyTask
from pipeline.downstream.truth import Truth
from pipeline.families.deepsets.spec import DeepSets
from pipeline.training.network import Downstream

MODEL = DeepSets(phi=(16, 24), f=(16,), classes=2)
TWO = ("QCD", "top")


def head(**asked):
    return AnomalyTask(**{"classes": TWO, "signal": ("top",), "fraction": 0.3, **asked})


@pytest.mark.parametrize("reference", [0.0, 0.05])
@pytest.mark.parametrize(("signal", "fraction"), [(("top",), 0.3), (("Hbb", "Hcc"), 0.1)])
def test_the_samples_hold_as_much_signal_as_asked(signal, fraction, reference):
    classes = TWO if signal == ("top",) else ("QCD", "Hbb", "Hcc", "Tbl", "Zqq")
    made = AnomalyTask(classes=classes, signal=signal, fraction=fraction, reference=reference)
    label = np.arange(100_000) % len(classes)
    which = scoring.samples(label, np.arange(100_000) * 7, made)
    is_signal = np.isin(label, made.labels)
    assert is_signal[which == scoring.DATA].mean() == pytest.approx(fraction, abs=0.01)
    assert is_signal[which == scoring.OTHER].mean() == pytest.approx(reference, abs=0.01)
    background = which[~is_signal]
    assert (background != scoring.NEITHER).all()
    assert (background == scoring.DATA).mean() == pytest.approx(0.5, abs=0.01)


def test_the_lot_is_of_splitmix64():
    # The first three numbers of Java's SplittableRandom(0), as its generator defines them.
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    found = [scoring.uniform(np.array([0]), draw)[0] for draw in range(3)]
    assert found == [(each >> 11) * 2.0**-53 for each in first]


def test_a_jet_is_always_in_the_same_sample_and_another_draw_is_another():
    label, ids = np.arange(1000) % 2, np.arange(1000) + (3 << 32)
    first, again = (scoring.samples(label, ids, head()) for _ in range(2))
    assert (first == again).all()
    assert (first[::-1] == scoring.samples(label[::-1], ids[::-1], head())).all()
    assert (first != scoring.samples(label, ids, head(draw=1))).mean() > 0.2


def test_jets_in_neither_sample_move_nothing():
    made, batch = head(fraction=0.01), jet_batch(MODEL, (5,) * 200)
    logits = torch.zeros(200, 2, requires_grad=True)
    loss = anomaly.loss(logits, batch, made)["sample"]
    loss.backward()
    label, ids = batch.per_event["label"].numpy(), batch.event_id.numpy()
    which = scoring.samples(label, ids, made)
    assert loss.item() == pytest.approx(np.log(2) * (which != scoring.NEITHER).mean())
    unmoved = (logits.grad == 0).all(1).numpy()
    assert (unmoved == (which == scoring.NEITHER)).all()
    assert unmoved.sum() > 80


def trained(made, batch, steps=150):
    torch.manual_seed(0)
    model = Downstream(MODEL, made)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.1)
    for _ in range(steps):
        loss = anomaly.loss(model(batch), batch, made)["sample"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def truth_of(batch):
    return Truth(
        source="made",
        verified=True,
        per_point={},
        per_event={name: each.numpy() for name, each in batch.per_event.items()},
        tables={},
        offsets=batch.offsets.numpy(),
        event_id=batch.event_id.numpy(),
        points=batch.points.numpy(),
        columns=MODEL.reads().columns,
    )


def test_signal_is_found_by_a_head_that_never_saw_which_jet_it_is():
    made = head(fraction=0.3)
    model = trained(made, jet_batch(MODEL, (12,) * 600))
    unseen = jet_batch(MODEL, (12,) * 400, seed=1)
    unseen = replace(unseen, event_id=unseen.event_id + 10_000)
    with torch.no_grad():
        told = anomaly.predict(model(unseen), unseen, made)
    found = scoring.score({n: v.numpy() for n, v in told.items()}, truth_of(unseen), made, 1)
    assert found.scores["auc"] > 0.9
    assert found.scores["sic_max"] > 1.5
    assert 0.55 < found.scores["auc_samples"] < 0.8, "0.5 + half the difference of fractions"
    assert found.scores["signal_in_data"] == pytest.approx(0.3, abs=0.06)
    assert found.scores["signal_in_other"] == 0
    assert set(made.SCORES) <= found.scores.keys()
    assert {each.name for each in found.curves} == {"ROC", "SIC"}


def test_labels_decide_nothing_but_the_samples():
    """Two kinds of background that change names leave the loss as it is."""
    made = AnomalyTask(classes=("QCD", "Zqq", "top"), signal=("top",), fraction=0.1)
    batch = jet_batch(MODEL, (6,) * 60, classes=3)
    swapped = torch.tensor([1, 0, 2])[batch.per_event["label"]]
    other = replace(batch, per_event={"label": swapped})
    logits = torch.randn(60, 2)
    assert anomaly.loss(logits, batch, made) == anomaly.loss(logits, other, made)


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValidationError, match="give some, not all, of QCD, top"):
        head(signal=TWO)
    with pytest.raises(ValidationError, match="give some, not all"):
        head(signal=("W",))
    with pytest.raises(ValidationError, match=r"reference 0\.4: give less than fraction 0\.3"):
        head(reference=0.4)
    with pytest.raises(ValidationError, match=r"takes 4\.5 times the signal that there is"):
        head(fraction=0.9)
    assert head(fraction=0.9, share=0.9).kept[0] <= 1
    batch = jet_batch(MODEL, classes=3)
    with pytest.raises(BadInput, match="labels from 0 to 2; the head knows 2 classes"):
        anomaly.loss(torch.zeros(12, 2), batch, head())
