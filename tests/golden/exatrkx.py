"""Exa.TrkX held to the authors' own, stage by stage: each case has one of the networks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import accumulate, count, pairwise
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.exatrkx import published as names
from pipeline.families.exatrkx.module import Pretrainer, build
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.nn import published, space_losses
from pipeline.nn.batch import Batch
from pipeline.nn.graph_losses import entropies
from pipeline.nn.graphs import Space, along, both_ways, inputs, nearest
from pipeline.nn.space_losses import Hinge, track_edges, with_true
from tests.golden.cases import (
    Case,
    Row,
    compared,
    compared_gradients,
    compared_graph,
    gradient_norms,
)

SMALL: dict[str, Any] = {"width": 2, "embedding_width": 2}
STEP, SLOPE = 1e-5, 1e-6  # of weights, and what a slope over it may differ by


def knows(case: Case) -> bool:
    """Return whether `case` is of one of the networks."""
    return case.about.get("peer_class") in STAGES


def model_of(case: Case) -> ExaTrkX:
    """Return the declaration of the published settings of one stage; the others are small."""
    return STAGES[case.about["peer_class"]][0](case.configuration["hparams"])


def of_embedding(given: dict[str, Any]) -> ExaTrkX:
    """Return the declaration of an embedding."""
    columns = given["cell_channels"] + given["spatial_channels"]
    return ExaTrkX(
        **SMALL
        | {
            "columns": [f"column{number}" for number in range(columns)],
            "embedding_width": given["emb_hidden"],
            "embedding_layers": given["nb_layer"],
            "embedding_activation": given["activation"],
            "dimensions": given["emb_dim"],
            "space_weight": given["weight"],
            "random_pairs": given["randomisation"],
            "radius": given["r_train"],
            "neighbours": given["knn"],
            "margin": given["margin"],
            "regime": given["regime"],
        }
    )


def of_filter(given: dict[str, Any]) -> ExaTrkX:
    """Return the declaration of a filter, which reads an embedding as further columns."""
    columns = given["in_channels"] + given["emb_channels"]
    return ExaTrkX(
        **SMALL,
        columns=[f"column{number}" for number in range(columns)],
        filter_width=given["hidden"],
        filter_layers=given["nb_layer"],
        filter_norms=[name for name in ("layer", "batch") if given[f"{name}norm"]],
        filter_weight=given["weight"],
    )


def of_network(given: dict[str, Any]) -> ExaTrkX:
    """Return the declaration of an interaction network."""
    columns = given["cell_channels"] + given["spatial_channels"]
    return ExaTrkX(
        **SMALL
        | {
            "columns": [f"column{number}" for number in range(columns)],
            "width": given["hidden"],
            "layers": given["n_graph_iters"],
            "depth": given["nb_node_layer"],
            "edge_depth": given["nb_edge_layer"],
            "norm": given["layernorm"],
            "aggregation": given["aggregation"],
            "activation": given["hidden_activation"],
            "edge_weight": given["weight"],
        }
    )


def module_of(case: Case) -> Pretrainer:
    """Return our module with the published weights of the stage."""
    model = model_of(case)
    module = build(model, None)
    state = module.state_dict()
    entries = STAGES[case.about["peer_class"]][1](model)
    shapes = {name: each.shape for name, each in state.items()}
    weights = published.imported(case.weights, entries, shapes, source=str(case.path))
    module.load_state_dict(state | weights)
    return module


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    module = module_of(case)
    _, entries, rows = STAGES[case.about["peer_class"]]
    yield from rows(case, module)
    if not case.arrays["grad_norms"].any():
        # The authors' network gave none in this case, though its loss depends on every weight.
        yield by_differences(case, module)
        return
    # The weights of a norm that is not used have no gradient in ours.
    found = {name: 0.0 for entry in entries(module.backbone.model) for name in entry.names}
    found |= gradient_norms(module, entries(module.backbone.model))
    yield compared_gradients(case, "grad_names", "grad_norms", found)


def events_of(case: Case) -> Iterator[tuple[int, slice]]:
    """Yield each event's number and its points."""
    sizes = case.configuration["sizes"]
    for number, (start, stop) in enumerate(pairwise(accumulate(sizes, initial=0))):
        yield number, slice(start, stop)


def array(case: Case, name: str, number: int | str = "") -> Tensor:
    """Return an array, of an event."""
    return torch.from_numpy(case.arrays[f"{name}{number}"])


def averaged(case: Case, losses: list[Tensor]) -> Iterator[Row]:
    """Yield the mean loss, whose gradients are left."""
    loss = torch.stack(losses).mean()
    yield compared(case, "out_loss", loss.detach())
    loss.backward()


def embedded(case: Case, module: Pretrainer) -> Iterator[Row]:
    """Yield places, the pairs of each event, their truth, distances and loss, and graphs.

    An event without true edges has no loss in the authors' code, and 0 in ours.
    """
    model, x, losses = module.backbone.model, array(case, "in_x"), []
    places = module.backbone.embedding(inputs(x, model.columns))
    yield compared(case, "out_embedding", places.detach())
    for number, here in events_of(case):
        batch = event(x[here], array(case, "in_particle")[here])
        if f"out_graph{number}" in case.arrays:
            radius = case.configuration["hparams"]["r_test"]
            graph = nearest(places[here], batch.offsets, len(batch.points), radius)
            yield compared_graph(case, f"out_graph{number}", graph, places[here].detach())
        if f"out_pairs{number}" in case.arrays:
            loss = module(batch).space.loss
            yield from pairs_of(case, number, places[here], batch, loss)
            space = Space(places[here], along(batch, model.columns), loss)
            with patch.object(space_losses, "pairs_of", drawn(case, number)):
                losses.append(loss(space, batch))
            yield compared(case, f"out_loss{number}", losses[-1].detach())
    yield from averaged(case, losses)


def event(points: Tensor, particle: Tensor) -> Batch:
    """Return an event by itself."""
    offsets = torch.tensor([0, len(points)])
    return Batch(points, offsets, torch.zeros(1, dtype=torch.int64), {"track": particle})


def drawn(case: Case, number: int) -> Callable[..., Tensor]:
    """Return the random pairs of ends of true edges from the numbers that the case gives."""

    def pairs(ends: Tensor, random_pairs: int, batch: Batch) -> Tensor:
        if not random_pairs:
            return ends.new_empty(2, 0)
        lots = array(case, "in_random", number)
        assert lots.shape[1] == random_pairs * len(ends), "ours has no limit on the ends"
        return torch.stack([ends[lots[0] % len(ends)], lots[1] % len(batch.points)])

    return pairs


def pairs_of(case: Case, number: int, places: Tensor, batch: Batch, loss: Hinge) -> Iterator[Row]:
    """Yield the pairs of an event, and truth and distance of each, in the authors' order."""
    edges = array(case, "in_true_edges", number)
    order = batch.index_in_event
    ours = track_edges(order, batch)
    yield compared_graph(case, f"in_true_edges{number}", ours, order[:, None].float())
    ends = edges.unique()
    lots = drawn(case, number)(ends, loss.random_pairs, batch)
    candidates = torch.cat([loss.near(places, ends, batch), lots], 1)
    pairs, true = with_true(candidates, edges, len(places))
    yield compared(case, f"out_pairs{number}", pairs)
    yield compared(case, f"out_truth{number}", 2 * true.float() - 1)
    distance = space_losses.squares(places, pairs)
    yield compared(case, f"out_distance{number}", distance.detach())


def filtered(case: Case, module: Pretrainer) -> Iterator[Row]:
    """Yield logits and loss of a filter."""
    given, x = case.configuration["hparams"], array(case, "in_x")
    seen = torch.cat([x, array(case, "in_emb")[:, : given["emb_channels"]]], 1)
    logits = module.backbone.filter(seen, array(case, "in_edges"))
    yield compared(case, "out_logits", logits.detach())
    weight = module.backbone.model.filter_weight
    losses = entropies(logits, array(case, "in_truth"), weight)
    yield from averaged(case, [losses.mean()])


def classified(case: Case, module: Pretrainer) -> Iterator[Row]:
    """Yield the states of points and edges after each step, logits and losses."""
    losses = []
    for number, here in events_of(case):
        if f"in_edges{number}" not in case.arrays:
            continue
        edges = array(case, "in_edges", number)
        both = torch.cat([edges, edges.flip(0)], 1)
        name = f"out_both_edges{number}"
        yield compared(case, name, both)
        yield compared_graph(case, name, both_ways(edges, here.stop), both.T.float())
        rows: list[Row] = []
        with states_of(case, module, number, rows):
            logits = logits_of(case, module, number, here)
        yield from rows
        yield compared(case, f"out_logits{number}", logits.detach())
        losses.append(network_loss(case, module, number, logits))
        yield compared(case, f"out_loss{number}", losses[-1].detach())
    yield from averaged(case, losses)


def logits_of(case: Case, module: Pretrainer, number: int, here: slice) -> Tensor:
    """Return the logits of the edges of an event, and of their flips."""
    edges = array(case, "in_edges", number)
    both = torch.cat([edges, edges.flip(0)], 1)
    x = inputs(array(case, "in_x")[here], module.backbone.model.columns)
    points, states = module.backbone.network(x.to(module.classify.net.maps[0].weight.dtype), both)
    logits: Tensor = module.classify(points, both, states)
    return logits


def network_loss(case: Case, module: Pretrainer, number: int, logits: Tensor) -> Tensor:
    """Return the loss of an event."""
    true = array(case, "in_truth", number).repeat(2)
    return entropies(logits, true, module.backbone.model.edge_weight).mean()


@contextmanager
def states_of(case: Case, module: Pretrainer, number: int, rows: list[Row]) -> Iterator[None]:
    """Compare what the case has of the states of points and edges after each step."""
    step = count()

    def compare(_: nn.Module, __: Any, states: tuple[Tensor, Tensor]) -> None:
        at = next(step)
        for kind, values in zip(("nodes", "edges_state"), states, strict=True):
            name = f"out_{kind}{number}_{at}"
            if name in case.arrays:
                rows.append(compared(case, name, values.detach()))

    hooks = [each.register_forward_hook(compare) for each in module.backbone.layers]
    yield
    for hook in hooks:
        hook.remove()


def by_differences(case: Case, module: Pretrainer) -> Row:
    """Return how the length of the gradient compares with the slope of the loss along it.

    In double precision, for a case whose gradients are all 0.
    """
    module = deepcopy(module).double()
    module.requires_grad_()

    def loss() -> Tensor:
        events = [each for each in events_of(case) if f"in_edges{each[0]}" in case.arrays]
        weight = torch.tensor(module.backbone.model.edge_weight, dtype=torch.float64)
        parts = []
        for number, here in events:
            true = array(case, "in_truth", number).repeat(2).double()
            logits = logits_of(case, module, number, here)
            parts.append(
                functional.binary_cross_entropy_with_logits(logits, true, pos_weight=weight)
            )
        return torch.stack(parts).mean()

    loss().backward()
    moved = [(each, each.grad) for each in module.parameters() if each.grad is not None]
    length = torch.stack([gradient.square().sum() for _, gradient in moved]).sum().sqrt()
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for each, gradient in moved:
                each.add_(sign * STEP * gradient / length)
            values.append(loss())
    slope = (values[0] - values[1]) / (2 * STEP)
    return Row("gradient by differences", float((slope / length - 1).abs()), SLOPE)


STAGES = {
    "LayerlessEmbedding": (of_embedding, names.embedding, embedded),
    "VanillaFilter": (of_filter, names.filter_, filtered),
    "InteractionGNN": (of_network, names.network, classified),
}
