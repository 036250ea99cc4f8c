"""EPiC-FM held to the authors' own: time, stages, velocity, loss, gradients and a sample."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.families.epic import published as names
from pipeline.families.epic.module import Context, Output, Pretrainer, build
from pipeline.families.epic.objective import flow
from pipeline.families.epic.spec import EPiC
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flow, midpoint
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

SYSTEM = "CNF (EPiC_encoder)"


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class", "")).startswith(SYSTEM)


def model_of(case: Case) -> EPiC:
    """Return the declaration of the published settings; columns and conditions without a name.

    Raises:
        ValueError: The time is not given to each linear layer, or to the points' columns too.
    """
    given = case.configuration
    if not (given["t_local_cat"] and given["t_global_cat"]) or given["add_time_to_input"]:
        message = f"{case.path}: ours gives the time to each linear layer, and only so"
        raise ValueError(message)
    count = given["features"]
    return EPiC(
        columns=tuple(f"column{number}" for number in range(count)),
        noise=((0, 1),) * count,
        conditions=tuple(f"condition{number}" for number in range(given["global_cond_dim"])),
        width=given["hidden_dim"],
        global_width=given["latent"],
        layers=given["layers"],
        time_width=2 * given["frequencies"],
        time=given["t_emb"],
        sigma=given["sigma"],
        steps=given["ode_steps"] - 1,
    )


def module_of(case: Case) -> Pretrainer:
    """Return our module with the published weights."""
    model = model_of(case)
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(
        names.weights_of(case.weights),
        names.entries(model),
        shapes,
        prefix=names.PREFIX,
        source=str(case.path),
    )
    module.load_state_dict(weights)
    return module


class Events:
    """The events of a case, packed; arrays (B, L, F) are real where the mask (B, L, 1) is 1."""

    def __init__(self, case: Case) -> None:
        self.real = case.arrays["in_mask"][..., 0] > 0
        offsets = np.concatenate([[0], np.cumsum(self.real.sum(1))]).astype(np.int64)
        self.batch = Batch(
            self.packed(case.arrays["in_x"]),
            torch.from_numpy(offsets),
            torch.arange(len(self.real)),
        )

    def packed(self, values: NDArray[np.generic]) -> Tensor:
        """Return the columns (P, F) of the real points."""
        return torch.from_numpy(np.ascontiguousarray(values[self.real], np.float32))

    def padded(self, values: Tensor) -> NDArray[np.float64]:
        """Return values of points (P, F) as (B, L, F), 0 where there is none."""
        padded = np.zeros((*self.real.shape, values.shape[1]))
        padded[self.real] = values.detach().double().numpy()
        return padded


def context(case: Case, module: Pretrainer, time: Tensor, batch: Batch) -> Context:
    """Return what linear layers are given, with the conditions as the case has them."""
    bare = module.backbone.model.model_copy(update={"conditions": ()})
    module.backbone.model, model = bare, module.backbone.model
    known = module.backbone.known(time, batch)
    module.backbone.model = model
    if "in_condition" in case.arrays:
        known = replace(known, conditions=torch.from_numpy(case.arrays["in_condition"]))
    return known


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    module, events = module_of(case), Events(case)
    batch = events.batch
    known = context(case, module, torch.from_numpy(case.arrays["in_time"]), batch)
    yield from _one(case, "time_features", known.time)
    noise, x = events.packed(case.arrays["in_noise"]), batch.points
    velocity = _velocity(module, known, batch, events.packed(case.arrays["in_y"]))
    yield from _one(case, "velocity", events.padded(velocity))
    with torch.no_grad():
        yield from _stages(case, module, known, events)
    sigma = module.sigma
    loss = flow(Output(Flow(velocity, (1 - sigma) * noise - x, known.time[:, 0])), batch)["flow"]
    yield from _one(case, "loss", loss.detach())
    loss.backward()
    theirs = (
        replace(entry, theirs=names.PREFIX + str(entry.theirs))
        for entry in names.entries(module.backbone.model)
    )
    found = gradient_norms(module, theirs)
    yield compared_gradients(case, "grad_names", "grad_norms", found, tolerance=_tolerance(case))
    yield compared(case, "out_sample", _sample(case, module, events))


def _velocity(module: Pretrainer, known: Context, batch: Batch, points: Tensor) -> Tensor:
    """Return the velocity (P, F) of points (P, F)."""
    velocity: Tensor = module.last(known.of_points(batch), module.backbone(points, known, batch))
    return velocity


def _stages(case: Case, module: Pretrainer, known: Context, events: Events) -> Iterator[Row]:
    """Yield the points and the vector of the event, layer by layer."""
    backbone, batch = module.backbone, events.batch
    x = backbone.entered(events.packed(case.arrays["in_y"]), known, batch)
    event = backbone.first_event(x, known, batch)
    yield from _one(case, "entry_points", events.padded(x))
    yield from _one(case, "entry_event", event)
    for number, block in enumerate(backbone.blocks):
        x, event = block(x, event, known, batch)
        yield from _one(case, f"layer{number}_points", events.padded(x))
        yield from _one(case, f"layer{number}_event", event)


@torch.no_grad()
def _sample(case: Case, module: Pretrainer, events: Events) -> NDArray[np.float64]:
    """Return where the case's noise flows to by the midpoint rule."""
    batch = events.batch

    def velocity(points: Tensor, time: Tensor) -> Tensor:
        return _velocity(module, context(case, module, time, batch), batch, points)

    start = events.packed(case.arrays["in_start"])
    steps, ones = module.backbone.model.steps, torch.ones(len(batch.sizes))
    return events.padded(midpoint(velocity, start, ones, steps))


def _tolerance(case: Case) -> float:
    """Return what a float32 network is held to that is given the same times."""
    return float(case.about["tolerance"]["float32_given_time_features"])


def _one(case: Case, name: str, ours: object) -> Iterator[Row]:
    """Yield how `ours` compares with the authors' float32 array, if the case has it."""
    if f"out_{name}" in case.arrays:
        yield compared(case, f"out_{name}", ours, tolerance=_tolerance(case))
