"""EggNet and Exa.TrkX probed: how many edges are of one track, stage by stage.

Axes: E edges · N events.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pipeline.evaluation.result import EvaluationResult, mean_interval
from pipeline.nn.batch import Batch
from pipeline.nn.graph_losses import together
from pipeline.nn.graphs import Graph, nearest, places
from pipeline.probing import Subject

NEAR = 10
ABOUT = {
    "neighbours_true": f"share of the {NEAR} nearest in the learnt space that are of one track",
    "neighbours_true_in_space": f"of the {NEAR} nearest in space, which nobody had to learn",
    "candidates_true": "share of the edges before the filter",
    "filter_efficiency": "share of the true ones that the filter keeps",
    "filter_purity": "share of the edges it keeps that are true",
    "edge_efficiency": "share of those true ones of which more than 0.5 is said",
    "edge_purity": "share of the edges of which more than 0.5 is said that are true",
    "edge_auc": "a true edge is ranked above a false one",
}
Floats = NDArray[np.float64]


def probe(subject: Subject) -> EvaluationResult:
    """Return which edges are true; shares are over edges, their intervals over events.

    What a model has no stage for is left out, and a share of no edges is no number.
    """
    rows: dict[str, list[Floats]] = {}
    edges: list[Floats] = []
    for graph, batch in _graphs(subject):
        for name, values in _counts(graph, batch).items():
            rows.setdefault(name, []).append(values)
        if graph.logits is not None:
            pair = [graph.logits.float(), together(graph.edges, batch).float()]
            edges.append(torch.stack(pair, 1).double().cpu().numpy())
    scores, intervals = {}, {}
    for name, parts in rows.items():
        right, count = np.concatenate(parts).T
        scores[name] = float(right.sum() / count.sum()) if count.sum() else float("nan")
        some = count > 0
        if some.any():
            shares = right[some] / count[some]
            intervals[name] = mean_interval(shares, count[some], seed=subject.seed)
    if edges:
        logits, true = np.concatenate(edges).T
        both = 0 < true.mean() < 1
        scores["edge_auc"] = float(roc_auc_score(true, logits)) if both else float("nan")
    return EvaluationResult(scores, intervals, {name: ABOUT[name] for name in scores})


@torch.no_grad()
def _graphs(subject: Subject) -> Iterator[tuple[Graph, Batch]]:
    """Yield what the model makes of all events, some at a time."""
    for each in subject.batches():
        batch = each.to(subject.device)
        yield subject.system.module(batch), batch


def _counts(graph: Graph, batch: Batch) -> dict[str, Floats]:
    """Return of each share, by name, (N, 2): how many edges of each event, of how many."""

    def share(edges: Tensor, right: Tensor, among: Tensor | None = None) -> Floats:
        kept = torch.ones_like(right) if among is None else among
        event = batch.event[edges[1]]
        counts = [event[part].bincount(minlength=len(batch.sizes)) for part in (right & kept, kept)]
        return torch.stack(counts, 1).double().cpu().numpy()

    found: dict[str, Floats] = {}
    if graph.space is not None:
        for name, where in (
            ("neighbours_true", graph.space.points),
            ("neighbours_true_in_space", places(batch.points)),
        ):
            near = nearest(where, batch.offsets, NEAR)
            found[name] = share(near, together(near, batch))
    if graph.candidates is not None:
        edges, true = graph.candidates.edges, together(graph.candidates.edges, batch)
        number = edges[1] * len(batch.points) + edges[0]
        passed = torch.isin(number, graph.edges[1] * len(batch.points) + graph.edges[0])
        found["candidates_true"] = share(edges, true)
        found["filter_efficiency"] = share(edges, passed, true)
        found["filter_purity"] = share(edges, true, passed)
    if graph.logits is not None:
        true, passed = together(graph.edges, batch), graph.logits > 0
        found["edge_efficiency"] = share(graph.edges, passed, true)
        found["edge_purity"] = share(graph.edges, true, passed)
    return found
