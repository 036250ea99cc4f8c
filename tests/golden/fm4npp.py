"""FM4NPP held to the authors' own: embedding, layers, predictions, losses and gradients."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.families import FAMILIES
from pipeline.families.fm4npp import objective
from pipeline.families.fm4npp import published as names
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.spec import FM4NPP
from pipeline.nn import published
from pipeline.nn.batch import Batch
from tests.golden.cases import Case, Row, compared

ITSELF = 1e-3  # of a norm that is small beside the largest
BACKBONES = {"mamba1": "fm4npp-mamba", "mamba2": "fm4npp-mamba2"}


def knows(case: Case) -> bool:
    """Return whether `case` is of this system: a network that predicts neighbours."""
    return case.about.get("configuration", {}).get("backbone") in BACKBONES


def model_of(case: Case) -> FM4NPP:
    """Return the declaration of the published settings; dropout is off in the outputs."""
    given = case.configuration
    assert given["d_state"] == given["embed_dim"] // 16, "the state is a sixteenth of the width"
    family = FAMILIES[BACKBONES[given["backbone"]]]
    return family(
        width=given["embed_dim"],
        layers=given["num_layers"],
        neighbours=given["klen"],
        embedding=given["pe_method"],
        combine=given["embed_method"],
    )


def module_of(case: Case) -> NeighbourPredictor:
    """Return our module with the published weights."""
    model = model_of(case)
    module = NeighbourPredictor(model)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(case.weights, names.entries(model), shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module.eval()


def batch_of(case: Case) -> Batch:
    """Return the events packed; a neighbour is the point of its event at the target's place."""
    sizes, padded = case.arrays["sizes"], case.arrays["points"]
    points = [event[:size] for event, size in zip(padded, sizes, strict=True)]
    found = [
        places(event[:, 1:], targets[: len(event)])
        for event, targets in zip(points, case.arrays["neighbours"], strict=True)
    ]
    return Batch(
        torch.from_numpy(np.concatenate(points)),
        torch.tensor([0, *np.cumsum(sizes)]),
        torch.arange(len(sizes)),
        {"neighbours": torch.from_numpy(np.concatenate(found))},
    )


def places(position: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return which row of `position` (L, 3) each of `targets` (L, 3k) is, -1 for none (L, k)."""
    wanted = targets.reshape(len(targets), -1, 1, 3)
    same = (wanted == position).all(-1)
    exists = (wanted != -100).any((-1, -2))
    assert (same.any(-1) == exists).all(), "a target is no point of its event"
    return np.where(exists, same.argmax(-1), -1)


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares; padding is left out, and what a copy has not."""
    module, batch = module_of(case), batch_of(case)
    predicted = module(batch)
    for name, ours in outputs(module, batch, predicted):
        if name in case.arrays:
            yield packed(case, name, ours.split(batch.sizes.tolist()))
    pooled = objective.neighbours(predicted, batch)["neighbours"]
    by_size = objective.neighbours_by_size(
        predicted,
        batch,
        edges=case.arrays["size_bins"].astype(int).tolist(),
        weights=case.arrays["size_weights"].tolist(),
    )["neighbours_by_size"]
    for name, loss in (("loss_masked", pooled), ("loss_reweighted", by_size)):
        yield compared(case, name, loss.detach())
        yield from gradients(case, f"grad_{name}", module, loss)
    yield compared(case, "loss_validation", pooled.detach())


def outputs(
    module: NeighbourPredictor, batch: Batch, predicted: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield what the network computes, (P, C) each, by the name of the array."""
    embedding = module.backbone.embedding
    yield "position_embedding_first_event", embedding.of_position(batch.points[:, 1:])
    yield "embedded", embedding(batch.points)
    for layer, added in enumerate(module.backbone(batch)[1]):
        yield f"feature_{layer}", added
    yield "predicted", predicted.flatten(1)
    yield "predicted_kernel_reference", predicted.flatten(1)


def packed(case: Case, name: str, events: Sequence[Tensor]) -> Row:
    """Return how the points of `events` (L, C) compare with the first events of an array."""
    reference = case.arrays[name]
    theirs = reference if reference.ndim == 3 else reference[None]
    sizes = [len(each) for each in events[: len(theirs)]]
    real = np.concatenate([event[:n] for event, n in zip(theirs, sizes, strict=True)])
    ours = torch.cat(list(events[: len(theirs)])).detach().double().numpy()
    difference = np.abs(ours - real).max() / np.abs(real).max()
    return Row(name, float(difference), case.tolerance(name))


def gradients(case: Case, name: str, module: nn.Module, loss: Tensor) -> Iterator[Row]:
    """Yield how norms of gradients compare, over the largest one and each over itself.

    Those of frozen weights are NaN.
    """
    module.zero_grad()
    loss.backward(retain_graph=True)
    theirs = {entry.ours: entry.names[0] for entry in names.entries(model_of(case))}
    norms = {
        theirs[ours]: np.nan if each.grad is None else float(each.grad.double().norm())
        for ours, each in module.named_parameters()
    }
    found = np.array([norms[str(each)] for each in case.arrays["grad_names"]])
    reference = case.arrays[name]
    assert (np.isnan(found) == np.isnan(reference)).all(), f"{case.path}: other weights are frozen"
    difference = np.abs(found - reference)
    whole = float(np.nanmax(difference) / np.nanmax(reference))
    yield Row(name, whole, case.tolerance(name))
    yield Row(f"{name}, each over itself", float(np.nanmax(difference / reference)), ITSELF)
