"""OmniLearned's PET v2 held to the authors' own: stages, logits, velocities, losses, a sample."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.families.omnilearned import objective
from pipeline.families.omnilearned import published as names
from pipeline.families.omnilearned.module import Output, Pretrainer, build
from pipeline.families.omnilearned.spec import CONTRASTIVE, FURTHER, OF_MODE, OmniLearned
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Noised, midpoint
from pipeline.nn.losses import Losses
from pipeline.nn.neighbours import nearest
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

SPLIT = 200
HEAD, OTHERS = 48, "condition"
Recorded = dict[str, Tensor]


def knows(case: Case) -> bool:
    """Return whether `case` is of this network."""
    return any("PET2" in str(file) for file in case.about.get("files", ()))


def model_of(case: Case) -> OmniLearned:
    """Return the declaration of the published settings."""
    return declared(case.configuration)


def declared(given: Mapping[str, Any]) -> OmniLearned:
    """Return the declaration of published settings."""
    fields = {
        "mode": given["mode"],
        "width": given["base_dim"],
        "layers": given["num_transformers"],
        "head_layers": given["num_transformers_head"],
        "heads": given["num_heads"],
        "tokens": given["num_tokens"],
        "nearest": given["K"],
        "ratio": given["mlp_ratio"],
        "interaction": "pet" if given["use_int"] else "",
        "classes": given["num_classes"],
        "steps": given.get("sampler_steps", 129) - 1,
    }
    if given["pid"]:
        fields |= {"kinds": given["pid_dim"], "kind": "pid"}
    if given["add_info"]:
        fields["additional"] = tuple(f"additional{n}" for n in range(given["add_dim"]))
    if given["conditional"]:
        fields["conditions"] = tuple(f"{OTHERS}{n}" for n in range(given["cond_dim"]))
    if given["mode"] == "ftag":
        fields["point_classes"] = given["num_gen_classes"]
    return OmniLearned.model_validate(fields)


def module_of(case: Case) -> Pretrainer:
    """Return our module with the published weights, and all objectives of its mode."""
    model = model_of(case)
    every = (*OF_MODE[model.mode], *FURTHER.get(model.mode, ()))
    model = model.model_copy(update={"objectives": dict.fromkeys(every, 1.0)})
    module = build(model, None).eval()
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(case.weights, names.entries(model), shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module


class Events:
    """The jets of a case, packed; the points of a jet stand before its padding."""

    def __init__(self, case: Case) -> None:
        arrays, sizes = case.arrays, case.arrays["sizes"]
        self.real = np.arange(arrays["x"].shape[1]) < sizes[:, None]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        columns = [arrays[name] for name in ("x", "add_info") if name in arrays]
        points = [self.packed(each) for each in columns]
        per_point = {
            name: self.packed(arrays[name]) for name in ("pid", "data_pid") if name in arrays
        }
        per_event = {"label": torch.from_numpy(arrays["label"])}
        for number, values in enumerate(arrays["cond"].T if "cond" in arrays else ()):
            # ours take logarithms of what a store holds, theirs what the file has
            raw = torch.from_numpy(values).double()
            per_event[f"{OTHERS}{number}"] = raw.sign() * raw.abs().expm1()
        self.batch = Batch(
            torch.cat(points, 1),
            torch.from_numpy(offsets),
            torch.arange(len(sizes)),
            per_point,
            per_event,
        )

    def packed(self, values: NDArray[Any]) -> Tensor:
        """Return what real points (P, ...) have of values (B, L, ...)."""
        return torch.from_numpy(np.ascontiguousarray(values[self.real]))

    def padded(self, values: Tensor) -> NDArray[np.float64]:
        """Return values of points (P, ...) as (B, L, ...), 0 where there is none."""
        padded = np.zeros((*self.real.shape, *values.shape[1:]))
        padded[self.real] = values.detach().double().numpy()
        return padded


def noise_of(case: Case, events: Events, module: Pretrainer) -> Noised:
    """Return the jets in the noise of the case, at its times."""
    mean, deviation = torch.tensor(module.model.moments).unbind(1)
    noise = events.packed(case.arrays["noise"]) * deviation + mean
    x, time = events.packed(case.arrays["x"]), torch.from_numpy(case.arrays["time"])
    share = time[events.batch.event].unsqueeze(1)
    return Noised((1 - share) * x + share * noise, time, noise - x)


@contextmanager
def recorded(module: Pretrainer) -> Iterator[Recorded]:
    """Record what each part of the body gives; a name is the authors' array's."""
    found: Recorded = {}
    body = module.backbone
    parts: dict[str, nn.Module] = {"embedded": body.entry, "local": body.local}
    for name, attribute in (
        ("pid_embedded", "kinds"),
        ("add_embedded", "additional"),
        ("time_token", "time"),
        ("condition_token", "conditions"),
        ("pairs", "pair_bias"),
    ):
        if hasattr(body, attribute):
            parts[name] = getattr(body, attribute)
    if "pairs" in parts:
        parts["pairs"] = body.pair_bias.net
    parts |= {f"block_{number}": block for number, block in enumerate(body.blocks)}
    parts["body"] = body.norm

    def keep(name: str, _module: nn.Module, _given: Any, result: Tensor) -> None:
        found[name] = result.detach()

    hooks = [part.register_forward_hook(partial(keep, name)) for name, part in parts.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def against(
    case: Case, name: str, ours: Any, *, where: NDArray[np.bool_] | None = None
) -> Iterator[Row]:
    """Yield how `ours` compares with the array `name`, and with the same in double precision."""
    for each in (name, f"f64_{name}"):
        if each in case.arrays:
            yield compared(case, each, ours, where=where, tolerance=case.tolerance(name))


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    module, events = module_of(case), Events(case)
    batch, model = events.batch, module.model
    clean = logits = None
    if model.mode != "generator":
        with recorded(module) as found:
            clean = module.backbone(batch)
        yield from _stages(case, found, events, module)
        logits = module.logits(clean, batch)
        yield from against(case, "logits", logits.detach())
        yield from _nearest(case, events, module)
    if model.noisy:
        noise = noise_of(case, events, module)
        with recorded(module) as found:
            output = module.in_noise(batch, noise, clean, logits)
        yield from _noised(case, noise, output, found, events, module)
    else:
        points = module.generator(clean, batch) if model.mode == "ftag" else None
        output = Output(logits, of_points=points)
    if output.of_points is not None:
        yield from against(case, "point_logits", events.padded(output.of_points))
    yield from _losses(case, module, output, batch)
    if "sampled" in case.arrays:
        yield from against(case, "sampled", _sample(case, module, events), where=events.real)


def _noised(
    case: Case,
    noise: Noised,
    output: Output,
    found: Recorded,
    events: Events,
    module: Pretrainer,
) -> Iterator[Row]:
    """Yield the arrays of jets in noise."""
    assert output.flow is not None
    yield from against(case, "noised", events.padded(noise.points))
    yield from against(case, "velocity_true", events.padded(noise.velocity))
    yield from _stages(case, found, events, module, "noised_")
    yield from against(case, "velocity", events.padded(output.flow.predicted))
    if output.in_noise is not None:
        yield from against(case, "logits_noised", output.in_noise.detach())


def _stages(
    case: Case, found: Recorded, events: Events, module: Pretrainer, prefix: str = ""
) -> Iterator[Row]:
    """Yield what parts of the body gave, where the case has the array."""
    for name, ours in found.items():
        array = case.arrays.get(prefix + name)
        if array is None:
            continue
        if array.shape[1:2] == events.real.shape[1:] and array.ndim == 3:
            where = events.real if name.endswith(("pid_embedded", "add_embedded")) else None
            values = events.padded(ours)
            yield from against(
                case, prefix + name, values if where is None else values[where], where=where
            )
        elif array.ndim == 3:
            yield from against(case, prefix + name, _longer(ours, array, events, module))
        else:
            yield from against(case, prefix + name, ours)
    if not prefix and "time_token" in case.arrays:
        # without noise ours leaves out the token, which is zero there
        yield from against(case, "time_token", np.zeros_like(case.arrays["time_token"]))
    if not prefix and "pair_bias_first_events" in case.arrays:
        bias = _first_biases(found["pairs"], events, module)
        yield from against(case, "pair_bias_first_events", bias)


def _longer(
    packed: Tensor, array: NDArray[Any], events: Events, module: Pretrainer
) -> NDArray[np.float64]:
    """Return what stands in each event (B, T, W) as theirs, from ours, packed.

    Without noise theirs has a time where ours has none, zero.
    """
    sizes = events.batch.sizes
    number = (len(packed) - int(sizes.sum())) // len(sizes)
    padded = np.zeros(array.shape)
    places = array.shape[1] - events.real.shape[1]
    tokens = module.model.tokens
    for event, (size, part) in enumerate(
        zip(sizes.tolist(), packed.split((sizes + number).tolist()), strict=True)
    ):
        values = part.double().numpy()
        padded[event, :tokens] = values[:tokens]
        padded[event, places - (number - tokens) : places] = values[tokens:number]
        padded[event, places : places + size] = values[number:]
    return padded


def _first_biases(values: Tensor, events: Events, module: Pretrainer) -> NDArray[np.float64]:
    """Return the biases (2 H, up to 48, up to 48) of the first two jets."""
    sizes, heads = events.batch.sizes.tolist(), module.model.heads
    length = min(HEAD, events.real.shape[1])
    found = np.zeros((2 * heads, length, length))
    rows = values.double().numpy()
    for event in range(2):
        size = sizes[event]
        count = size * (size + 1) // 2
        query, key = np.tril_indices(size)
        whole = np.zeros((heads, size, size))
        whole[:, query, key] = whole[:, key, query] = rows[:count].T
        most = min(size, length)
        found[event * heads : (event + 1) * heads, :most, :most] = whole[:, :most, :most]
        rows = rows[count:]
    return found


def _nearest(case: Case, events: Events, module: Pretrainer) -> Iterator[Row]:
    """Yield how far away the nearest are, farthest last, ours and theirs."""
    if "near" not in case.arrays:
        return
    batch, count = events.batch, module.model.nearest
    places = events.packed(case.arrays["x"])[:, :2].double()
    edges = nearest(places, batch.lengths, count)
    many = batch.sizes[batch.event] > count
    rows = many.nonzero().squeeze(1)
    if not len(rows):
        return
    start = batch.offsets[:-1][batch.event]
    theirs = events.packed(case.arrays["near"]) + start.unsqueeze(1)
    ours = edges.near[many[edges.point]].view(-1, count)

    def distances(of: Tensor) -> Tensor:
        away = places[of] - places[rows].unsqueeze(1)
        return away.norm(dim=2).sort(1).values

    away = (distances(ours) - distances(theirs[rows])).abs().max()
    yield Row("near", float(away), 1e-6)


def _losses(case: Case, module: Pretrainer, output: Output, batch: Batch) -> Iterator[Row]:
    """Yield losses and gradients: of the objectives of the mode, and with each option."""
    own = dict.fromkeys(OF_MODE[module.model.mode], 1.0)
    yield from _loss(case, "", _parts(module.model, own, output, batch), module)
    if "loss_events" in case.arrays:
        model = module.model.model_copy(update={"split": SPLIT})
        yield from _loss(case, "events", _parts(model, own, output, batch), module)
    if "loss_clip" in case.arrays:
        parts = _parts(module.model, {**own, CONTRASTIVE: 1.0}, output, batch)
        yield from _loss(case, "clip", parts, module)


def _parts(model: OmniLearned, weights: dict[str, float], output: Output, batch: Batch) -> Losses:
    """Return the parts of the loss."""
    found: Losses = {}
    for name in weights:
        found |= getattr(objective, name)(output, batch, **model.objective_settings(name))
    return found


def _loss(case: Case, option: str, parts: Losses, module: Pretrainer) -> Iterator[Row]:
    """Yield the loss, its parts as the authors log them, and the norms of its gradient."""
    name, log = (f"loss_{option}", f"part_{option}_") if option else ("loss", "part_")
    total = torch.stack(list(parts.values())).sum()
    yield from against(case, name, total.detach())
    logged = {
        "loss_class": ("class", "perturbed"),
        "loss_class_event": ("class_event", "perturbed_event"),
        "loss_gen": ("flow", "points"),
        "loss_clip": ("contrastive",),
    }
    for theirs, ours in logged.items():
        if log + theirs in case.arrays:
            found = sum(float(parts[each].detach()) for each in ours if each in parts)
            yield from against(case, log + theirs, [found])
    module.zero_grad()
    total.backward(retain_graph=True)
    norms = gradient_norms(module, names.entries(module.model))
    for each in (f"grad_{name}", f"f64_grad_{name}"):
        if each in case.arrays:
            tolerance = case.tolerance(f"grad_{name}")
            yield compared_gradients(case, "grad_names", each, norms, tolerance=tolerance)


@torch.no_grad()
def _sample(case: Case, module: Pretrainer, events: Events) -> NDArray[np.float64]:
    """Return where the case's noise (P, F) flows to by the midpoint rule."""
    batch, mean_and_deviation = events.batch, torch.tensor(module.model.moments)
    mean, deviation = mean_and_deviation.unbind(1)
    start = events.packed(case.arrays["sampler_noise"]) * deviation + mean
    ones = torch.ones(len(batch.sizes))
    ends = midpoint(partial(module.velocity, batch), start, ones, module.model.steps)
    return ends.double().numpy()
