"""PolarBERT probed: scores that follow from what is told, and guesses that need no model."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_neutrinos import SENSORS, geometry, pulses, small, write_store
from torch import nn

from pipeline.data.loading import Selection
from pipeline.families.polarbert.module import Output
from pipeline.families.polarbert.probe import ABOUT, nearest_in_time, probe
from pipeline.nn import systems
from pipeline.probing import Subject


class Knowing(nn.Module):
    """Says of every third pulse that is not auxiliary `wrong` more than its sensor, and charges."""

    def __init__(self, wrong=0, exact=True):
        super().__init__()
        self.wrong, self.exact = wrong, exact

    def forward(self, batch):
        chosen = (batch.index_in_event % 3 == 0) & ~batch.per_point["auxiliary"]
        (masked,) = chosen.nonzero(as_tuple=True)
        said = (batch.per_point["sensor_id"][masked] + self.wrong) % SENSORS
        logits = 50.0 * nn.functional.one_hot(said + 1, SENSORS + 1)
        logits[:, 0] = 90.0 * self.wrong  # padding is no sensor
        charge = batch.per_event["total_charge"].log10()
        return Output(masked, logits, charge if self.exact else torch.full_like(charge, 3.0))


@pytest.fixture
def held_out(tmp_path):
    store = write_store(tmp_path / "ice.zarr", [20, 8, 31, 12] * 20)
    events = Selection(store.path, "test", small().reads()).load()

    def made(module):
        system = systems.System(module, systems.build(small(), None).objective, small().reads())
        return Subject(small(), system, events, store, torch.device("cpu"), 1, tmp_path)

    return made


def test_who_knows_all_has_the_best_scores(held_out):
    scores = probe(held_out(Knowing())).scores
    assert scores["accuracy"] == scores["accuracy_top10"] == 1.0
    assert scores["cross_entropy"] == pytest.approx(0.0, abs=1e-5)
    assert scores["distance_median_m"] == 0.0
    assert scores["charge_r2"] == pytest.approx(1.0)
    assert scores["charge_rms"] == pytest.approx(0.0)


def test_who_is_a_sensor_off_is_told_how_far(held_out):
    scores = probe(held_out(Knowing(wrong=4, exact=False))).scores
    assert scores["accuracy"] == 0.0
    assert scores["accuracy_top10"] > 0.0
    assert scores["cross_entropy"] > math.log(SENSORS)
    assert scores["distance_median_m"] == pytest.approx(17.0)  # the next sensor on the string
    assert scores["charge_r2"] < 0.0


def test_the_guesses_are_those_that_need_no_model(held_out):
    scores = probe(held_out(Knowing())).scores
    assert scores["cross_entropy_uniform"] == pytest.approx(math.log(SENSORS))
    # An event lights up two sensors, so that of a neighbour in time is right in about half.
    assert 0.35 < scores["accuracy_nearest_in_time"] < 0.65
    assert 1 / SENSORS < scores["accuracy_most_frequent"] < 0.2
    assert scores["distance_median_nearest_in_time_m"] < scores["distance_median_most_frequent_m"]
    # The charge of these events is 1.5 times that of their pulses, which their sizes decide.
    assert scores["charge_rms_visible"] == pytest.approx(math.log10(1.5), rel=1e-3)
    made = pulses([20, 8, 31, 12] * 20)
    true = made.per_event["total_charge"].double().log10().numpy()
    assert scores["charge_rms_mean"] == pytest.approx(true.std(), rel=1e-4)


def test_every_score_is_explained_and_the_pictures_show_truth_and_model(held_out):
    look = probe(held_out(Knowing(wrong=4)))
    assert set(look.scores) == set(look.about) == set(ABOUT)
    low, high = look.intervals["accuracy"]
    assert low <= look.scores["accuracy"] <= high
    charge, depth, _ = look.histograms
    assert sum(charge.true) == sum(charge.made) == 80
    assert charge.true == charge.made
    assert depth.unit == "m"
    assert depth.true != depth.made


def test_the_trained_model_s_own_answers_are_looked_at(held_out):
    torch.manual_seed(0)
    probed = held_out(systems.build(small(), None).module)
    torch.manual_seed(1)
    scores = probe(probed).scores
    assert np.isfinite(list(scores.values())).all()
    assert scores["cross_entropy"] == pytest.approx(math.log(SENSORS), abs=1.0)


def test_a_probe_of_auxiliary_pulses_alone_says_so(tmp_path, held_out):
    probed = held_out(systems.build(small(masked=1e-12), None).module)
    with pytest.raises(ValueError, match="no pulse was masked: probe more events"):
        probe(probed)


def test_the_nearest_in_time_is_of_the_same_event_and_rather_not_auxiliary():
    batch = pulses([5, 2, 1])
    batch.points[:, 0] = torch.tensor([0.0, 0.1, 0.12, 0.5, 0.6, 0.1, 0.3, 0.1])
    batch.per_point["auxiliary"][:] = torch.tensor([0, 0, 1, 0, 0, 0, 1, 0]).bool()
    masked = torch.tensor([1, 4, 5, 7])
    assert nearest_in_time(masked, batch).tolist() == [0, 3, 6, 7]
    assert geometry().shape == (SENSORS, 3)
