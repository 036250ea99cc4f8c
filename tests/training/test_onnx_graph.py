"""Models as graphs of ONNX: ONNX Runtime computes with them what the model does."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from every_objective import CASES

from pipeline.campaign.model_folder import ModelFolder, StoredWeights
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Column
from pipeline.downstream.jets.spec import JetTask
from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.training.loaded import Loaded
from pipeline.training.network import Downstream
from pipeline.training.onnx_graph import POINTS, EventGraph, compared, export, inputs_of
from pipeline.training.predictor import Predictor

TWO = JetTask(classes=("top", "qcd"))
TRACKS = TrackTask(width=16, queries=8, layers=1, heads=2, inner=16)
CPU = torch.device("cpu")


def graph_of(model, head):
    torch.manual_seed(0)
    network = Downstream(model, head).eval()
    declared = ModelFolder(model=model, head=head, weights=StoredWeights(sha256=""))
    predictor = Predictor(head, network, "", CPU)
    loaded = Loaded(Path(), declared, network, predictor, None, CPU)
    columns = [
        Column(name=n, unit="1", offset=2.0, scale=0.5, provenance="") for n in loaded.reads.columns
    ]
    return EventGraph(loaded, columns).eval()


def event(reads, count):
    points = torch.rand(count, len(reads.columns)) + 0.5
    whole = {name: torch.randint(0, 2, (count,)) for name in reads.per_point}
    if "auxiliary" in whole:
        whole["auxiliary"] = whole["auxiliary"].bool()
    return {POINTS: points, **whole}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("fm4npp-mamba2: neighbours", TRACKS),
        ("polarbert: sensors", NoiseTask()),
        ("mpm: tokens", TWO),
        ("mpmv2: identity", TWO),
        ("part: classes", TWO),
        ("particlenet: classes", TWO),
        ("deepsets: classes", TWO),
        ("omnilearned: classes", TWO),
        ("omnijet: next_token", TWO),
        ("epic-fm: flow", TWO),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else value.task,
)
def test_a_graph_does_what_the_model_does(name, head, tmp_path):
    graph = graph_of(CASES[name].model, head)
    most = graph.reads.most_points or 200
    events = [event(graph.reads, min(count, most)) for count in (1, 2, 7, 64, 65, 200)]
    about = {"family": graph.loaded.declared.model.family}
    outputs = export(graph, events[2], tmp_path / "model.onnx", about)
    found = compared(graph, tmp_path / "model.onnx", events)
    assert found.difference < 1e-4
    assert found.points == tuple(min(each, most) for each in (1, 2, 7, 64, 65, 200))
    written = onnx.load(tmp_path / "model.onnx")
    assert [each.name for each in written.graph.input] == list(inputs_of(graph.reads))
    assert tuple(each.name for each in written.graph.output) == outputs == tuple(head.predictions())
    told = {each.key: each.value for each in written.metadata_props}
    assert json.loads(told["cosmotron"]) == about


@pytest.mark.parametrize("name", ["fm4npp-mamba: neighbours", "graphsage: particles"])
def test_a_loop_or_a_search_among_points_has_no_graph(name, tmp_path):
    graph = graph_of(CASES[name].model, NoiseTask())
    with pytest.raises(BadInput, match=r"not exported. Its sizes or its search depend"):
        export(graph, event(graph.reads, 7), tmp_path / "model.onnx", {})
    assert not any(tmp_path.iterdir())
