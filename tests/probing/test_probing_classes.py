"""Models pretrained on classes probed: scores that follow from what is told."""

import math

import pytest

torch = pytest.importorskip("torch")

from made_constituents import write_jets
from torch import nn

from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.downstream.jets.spec import JETCLASS
from pipeline.families.deepsets.spec import DeepSets
from pipeline.nn import systems
from pipeline.probing import Subject
from pipeline.probing.classes import names_of, probe

MODEL = DeepSets(inputs="kin", phi=(8, 8), f=(8,), classes=2)


class Knowing(nn.Module):
    """Gives the true class a logit of `sure`, and the other none."""

    def __init__(self, sure):
        super().__init__()
        self.sure = sure

    def forward(self, batch):
        return self.sure * nn.functional.one_hot(batch.per_event["label"], 2).float()


@pytest.fixture
def held_out(tmp_path):
    path = write_jets(tmp_path / "jets.zarr", (40, 25), splits=("test", "test"))
    source = Selection(path, "test", MODEL.reads())
    events, store = source.load(), source.open()

    def made(module):
        system = systems.System(module, systems.build(MODEL, None).objective, MODEL.reads())
        return Subject(MODEL, system, events, store, torch.device("cpu"), 1, tmp_path)

    return made


def test_who_knows_all_has_the_best_scores(held_out):
    scores = probe(held_out(Knowing(2.0))).scores
    assert scores["accuracy"] == scores["auc"] == 1
    assert scores["log_loss"] == pytest.approx(math.log1p(math.exp(-2)))


def test_who_takes_one_for_the_other_has_the_worst(held_out):
    look = probe(held_out(Knowing(-2.0)))
    assert look.scores["accuracy"] == look.scores["auc"] == 0
    (confusion,) = look.matrices
    assert confusion.counts == [[0, 40], [25, 0]]
    assert confusion.labels == ["class 0", "class 1"]


def test_who_guesses_is_right_half_the_time(held_out):
    look = probe(held_out(Knowing(0.0)))
    assert look.scores["auc"] == 0.5
    assert look.scores["accuracy"] == pytest.approx(40 / 65), "the first of equals is told"
    low, high = look.intervals["accuracy"]
    assert low < 40 / 65 < high


def test_what_is_no_number_is_told(held_out):
    with pytest.raises(BadInput, match="that are no numbers"):
        probe(held_out(Knowing(math.nan)))


def test_the_classes_of_jetclass_have_their_names():
    assert names_of(10, "jetclass") == JETCLASS
    assert names_of(10, "toptagging")[:2] == ("class 0", "class 1")
    assert names_of(3, "jetclass") == ("class 0", "class 1", "class 2")
