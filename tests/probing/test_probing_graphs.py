"""EggNet and Exa.TrkX probed: shares of true edges that follow from a graph at hand."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import write_store
from torch import nn

from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.families.eggnet.spec import EggNet
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.nn import systems
from pipeline.nn.graphs import Candidates, Graph, Space, both_ways, nearest
from pipeline.nn.space_losses import Contrastive
from pipeline.probing import Subject
from pipeline.probing.graphs import ABOUT, probe

EGGNET = EggNet(width=8, iterations=1, layers=1, depth=1, dimensions=4)
EXATRKX = ExaTrkX(width=8, layers=1, depth=1, embedding_width=8, filter_width=8)
UNFILTERED = EXATRKX.model_copy(update={"filter_width": None})


class Knowing(nn.Module):
    """Puts points where their track says; keeps true edges and, of others, each that begins
    at an even place; says of kept ones what is true, or the contrary."""

    def __init__(self, *, right=True):
        super().__init__()
        self.right = right

    def forward(self, batch):
        track = batch.per_point["track"]
        noise = (track == 0) * (10.0 + batch.index_in_event)  # of no track, so each by itself
        space = nn.functional.pad((track + noise).unsqueeze(1).float(), (0, 1))
        edges = both_ways(nearest(batch.points, batch.offsets, 3), len(track))
        first, second = track[edges]
        true = (first == second) & (first != 0)
        kept = true | (batch.index_in_event[edges[0]] % 2 == 0)
        logits = (true[kept].float() - 0.5) * (1 if self.right else -1)
        return Graph(
            edges[:, kept],
            Space(space, track, Contrastive()),
            logits=logits,
            candidates=Candidates(edges, kept.float()),
        )


@pytest.fixture
def held_out(tmp_path):
    store = Store.open(write_store(tmp_path / "made.zarr", shards=(40,)))
    events = Selection(store.path, "train", EXATRKX.reads()).load()

    def made(module, model=EXATRKX):
        system = systems.build(model, None)
        if module is not None:
            system = systems.System(module, system.objective, model.reads())
        return Subject(model, system, events, store, torch.device("cpu"), 1, tmp_path)

    return made


def test_who_knows_the_tracks_is_right_at_every_stage(held_out):
    look = probe(held_out(Knowing()))
    assert look.scores.keys() == ABOUT.keys() == look.about.keys()
    for name in ("filter_efficiency", "edge_efficiency", "edge_purity", "edge_auc"):
        assert look.scores[name] == 1.0
    assert look.scores["neighbours_true"] > look.scores["neighbours_true_in_space"]
    assert look.scores["candidates_true"] < look.scores["filter_purity"] < 1.0
    for name, (low, high) in look.intervals.items():
        assert low <= look.scores[name] <= high


def test_who_says_the_contrary_is_wrong_about_edges_alone(held_out):
    scores = probe(held_out(Knowing(right=False))).scores
    assert scores["edge_efficiency"] == scores["edge_purity"] == scores["edge_auc"] == 0.0
    assert scores["filter_efficiency"] == 1.0


@pytest.mark.parametrize("model", [EGGNET, EXATRKX, UNFILTERED])
def test_a_model_is_asked_about_the_stages_it_has(held_out, model):
    torch.manual_seed(0)
    scores = probe(held_out(None, model)).scores
    learnt = {"neighbours_true", "neighbours_true_in_space"}
    edges = {"edge_efficiency", "edge_purity", "edge_auc"}
    stages = [(EGGNET, learnt), (EXATRKX, ABOUT.keys()), (UNFILTERED, learnt | edges)]
    assert scores.keys() == next(names for each, names in stages if each is model)
    assert 0 < scores["neighbours_true_in_space"] < 1
