"""Models with a flow probed: what is generated beside the truth, and classes as they are told."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import made_constituents
from made_constituents import write_jets
from made_flows import epic, learned

from pipeline.data.events import offsets_of
from pipeline.data.experiments.jetclass import COLUMN_NAMES
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.evaluation.jets import OF_CONSTITUENTS, OF_JETS, OF_SHAPES
from pipeline.nn import systems
from pipeline.nn.flow import Noise
from pipeline.probing import Subject
from pipeline.probing.flows import SIZES, drawn, probe

CPU = torch.device("cpu")
JETS = (*OF_JETS, *OF_SHAPES, *OF_CONSTITUENTS)


def held_out(model, folder, module=None, **changes):
    """A model at hand, untrained or `module` in its place, and jets that it never saw."""
    path = folder / "jets.zarr"
    store = Store.open(path if path.exists() else write_jets(path, **changes))
    torch.manual_seed(0)
    system = systems.build(model, store)
    system.module.eval()
    if module is not None:
        system = systems.System(module, system.objective, system.reads)
    events = Selection(store.path, "test", model.reads()).load()
    return Subject(model, system, events, store, CPU, 1, folder)


@pytest.mark.parametrize("model", [learned(classes=3, steps=2), epic(classes=3, steps=2)])
def test_generated_jets_are_laid_beside_held_out_ones(tmp_path, model):
    looks = [probe(held_out(model, tmp_path)) for _ in range(2)]
    look = looks[0]
    np.testing.assert_equal(look.scores, looks[1].scores)
    assert set(look.about) == set(look.scores)
    names = (*JETS, "log_energy") if "log_energy" in model.columns else JETS
    for name in names:
        assert {f"kl_{name}", f"w1_{name}"} <= look.intervals.keys()
    assert len(look.histograms) == len(names) - 2
    assert sum(look.histograms[0].made) == sum(look.histograms[0].true) == 12
    assert 0 <= look.scores["auc_generated"] <= 1
    told = model.family == "omnilearned"
    assert ("accuracy" in look.scores) == told
    assert len(look.matrices) == told


def pattern(count, *, seed=0):
    """Jets that are all the same: ten particles in a row."""
    place = np.tile(np.arange(10), count)
    deta, pt = 0.02 * place, np.exp(0.1 * place)
    points = np.zeros((10 * count, len(COLUMN_NAMES)), np.float32)
    for name, values in {"px": pt, "energy": pt, "deta": deta, "dphi": -deta}.items():
        points[:, COLUMN_NAMES.index(name)] = values
    return points, offsets_of(np.full(count, 10))


class Knowing(torch.nn.Module):  # type: ignore[name-defined]
    """Flows straight to such jets."""

    noise = Noise(((0.0, 1.0),) * 3)

    def velocity(self, batch, points, time):
        place = batch.index_in_event.float()
        there = torch.stack([0.02 * place, -0.02 * place, 0.1 * place], 1)
        return (points - there) / time[batch.event].unsqueeze(1)


def test_who_generates_the_truth_is_at_no_distance_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(made_constituents, "jets", pattern)
    look = probe(held_out(epic(steps=3), tmp_path, Knowing()))
    for name in JETS:
        assert look.scores[f"w1_{name}"] == pytest.approx(0, abs=2e-4), name
    assert look.scores["w1_constituent_pt_of_noise"] > 0.3


def test_what_is_known_of_events_is_drawn_together_from_the_training(tmp_path):
    model = learned(classes=3, conditions=("jet.0", "multiplicity"))
    probed = held_out(model, tmp_path)
    known = drawn(probed, model, 500)
    assert set(known) == {SIZES, "label", "jet"}
    assert set(known["label"]) == {0, 1}, "2 is the class of what is held out"
    np.testing.assert_array_equal(known["jet"][:, 0], known["label"] + np.float32(500))
    assert (np.diff(known[SIZES]) >= 0).all()
    alone = held_out(model, tmp_path / "test", splits=("test",) * 3)
    assert set(drawn(alone, model, 500)["label"]) == {0, 1, 2}


def test_events_of_another_discipline_are_compared_column_by_column(tmp_path):
    model = epic(columns=("d0val", "px"), normalised=True, steps=1)
    look = probe(held_out(model, tmp_path))
    assert {each.name for each in look.histograms} == {"d0val", "px", "multiplicity"}
    assert "auc_generated" not in look.scores
