"""EggNet held to the authors' own: graphs, states, embedding, parts of the loss, gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, pairwise
from unittest.mock import patch

import torch
from torch import Tensor

from pipeline.families.eggnet import published as names
from pipeline.families.eggnet.module import Backbone, Pretrainer, build
from pipeline.families.eggnet.spec import EggNet
from pipeline.nn import published, space_losses
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Space, nearest
from pipeline.nn.space_losses import track_edges
from tests.golden.cases import (
    Case,
    Row,
    compared,
    compared_gradients,
    compared_graph,
    gradient_norms,
)

SYSTEM = "EggNet"
SHARED = {
    (True, False): "iterations",
    (True, True): "everything",
    (False, True): "rounds",
    (False, False): "nothing",
}
NETWORKS = {
    "encoder": "encoder",
    "first": "node_0",
    "edges": "edge",
    "points": "node",
    "decoder": "decoder",
}


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class", "")).startswith(SYSTEM)


def model_of(case: Case) -> EggNet:
    """Return the declaration of the published settings.

    Raises:
        ValueError: The case has batch norms, or pairs of several weights.
    """
    given = case.configuration["hparams"]
    if given.get("batchnorm") or set(given.get("weighting", {}).values()) - {1.0}:
        message = f"{case.path}: ours has no batch norms, and pairs of one weight"
        raise ValueError(message)
    return EggNet(
        columns=tuple(given["node_features"]),
        width=given["node_rep_dim"],
        edge_width=given["edge_rep_dim"],
        depths={ours: given[f"n_{theirs}_layers"] for ours, theirs in NETWORKS.items()},
        inner={ours: given[f"{theirs}_hidden"] for ours, theirs in NETWORKS.items()},
        activation=given["hidden_activation"],
        norm=given["layernorm"],
        iterations=given["n_iters"],
        layers=given["n_gnns_per_iter"],
        shared=SHARED[given["recurrent"], given["recurrent_gnn"]],
        recycle=given.get("recycle_node_representation", True),
        neighbours=given["knn_train"],
        dimensions=given["node_pspace_dim"],
        space_activation=given["output_activation"] or "none",
        sphere=given["embedding_norm"],
        margin=given["margin"],
        loss_neighbours=given["knn_loss"],
        random_pairs=given["randomisation"],
    )


def module_of(case: Case) -> Pretrainer:
    """Return our module with the published weights."""
    model = model_of(case)
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    entries = names.entries(model)
    weights = published.imported(case.weights, entries, shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module


def events_of(case: Case) -> Iterator[tuple[int, Batch]]:
    """Yield each event by its number."""
    sizes = case.configuration["sizes"]
    for number, (start, stop) in enumerate(pairwise(accumulate(sizes, initial=0))):
        yield (
            number,
            Batch(
                torch.from_numpy(case.arrays["in_x"][start:stop]),
                torch.tensor([0, stop - start]),
                torch.tensor([number]),
                {"track": torch.from_numpy(case.arrays["in_particle"][start:stop])},
            ),
        )


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    module, losses = module_of(case), []
    for number, batch in events_of(case):
        rows: list[Row] = []
        random = array(case, number, "in_random_edges")
        with patched(module.backbone, case, number, rows):
            space = module(batch).space
        yield from rows
        yield compared(case, f"out_embedding{number}", space.points.detach())
        yield from _parts(case, number, space, batch)
        with patch.object(space_losses, "any_pairs", return_value=random):
            losses.append(space.loss(space, batch))
        yield compared(case, f"out_loss_event{number}", losses[-1].detach())
    loss = torch.stack(losses).mean()
    yield compared(case, "out_loss", loss.detach())
    loss.backward()
    entries = list(names.entries(module.backbone.model))
    # What decides graphs alone has no gradient in ours, and one of 0 in theirs.
    found = {name: 0.0 for entry in entries for name in entry.names}
    found |= gradient_norms(module, entries)
    yield compared_gradients(case, "grad_names", "grad_norms", found)


def array(case: Case, number: int, name: str) -> Tensor:
    """Return an array of an event."""
    return torch.from_numpy(case.arrays[f"{name}{number}"])


@contextmanager
def patched(backbone: Backbone, case: Case, number: int, rows: list[Row]) -> Iterator[None]:
    """Run the backbone on an event's graphs as the case has them, and compare what it makes.

    Neighbours are decisions: two at the same distance may be exchanged.
    """
    near, iteration, encoder = backbone.near, backbone.iteration, backbone.encoder.forward
    space: list[Tensor] = []

    def compare(name: str, x: Tensor) -> None:
        rows.append(compared(case, name, x.detach()))

    def encoded(x: Tensor) -> Tensor:
        compare(f"out_encoded{number}", v := encoder(x))
        return v

    def given(which: int, x: Tensor, offsets: Tensor) -> Tensor:
        with torch.no_grad():
            space.append(backbone.space(min(which, len(backbone.decoders) - 1), x))
        name = f"out_edges{number}_{which}"
        rows.append(compared_graph(case, name, near(which, x, offsets), space[-1]))
        return torch.from_numpy(case.arrays[name])

    def states(which: int, x: Tensor, edges: Tensor) -> Tensor:
        compare(f"out_before_iteration{number}_{which}", x)
        compare(f"out_after_iteration{number}_{which}", after := iteration(which, x, edges))
        return after

    with (
        patch.object(backbone, "near", given),
        patch.object(backbone, "iteration", states),
        patch.object(backbone.encoder, "forward", encoded),
    ):
        yield


def _parts(case: Case, number: int, space: Space, batch: Batch) -> Iterator[Row]:
    """Yield the pairs of an event that ours makes, and the three parts of the loss on theirs."""
    given, loss = partial(array, case, number), space.loss
    track = track_edges(space.along, batch)
    yield compared_graph(case, f"in_track_edges{number}", track, space.along[:, None].float())
    near = nearest(space.points, batch.offsets, loss.neighbours)
    yield compared_graph(case, f"out_knn_loss_edges{number}", near, space.points.detach())
    for name, pairs in (
        ("signal", "in_track_edges"),
        ("knn", "out_knn_loss_edges"),
        ("random", "in_random_edges"),
    ):
        part = loss.part(space.points, given(pairs), batch)
        yield compared(case, f"out_{name}_loss_event{number}", part.detach())
