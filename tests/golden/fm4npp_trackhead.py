"""FM4NPP's track-finding head held to the authors' own: masks, classes, losses, assignments."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.downstream.tracks import loss as losses
from pipeline.downstream.tracks import published_names as names
from pipeline.downstream.tracks.queries import MLP, TrackFinder, Tracks, assign
from pipeline.downstream.tracks.spec import Assignment, TrackTask
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from tests.golden.cases import Case, Row, compared
from tests.golden.fm4npp import packed

ASSIGNMENTS: dict[int, Assignment] = {1: "mask", 2: "mask-and-class"}
FURTHER = {"pid_logits": "pid_mlp", "track_regression": "track_mlp", "noise_logits": "noise_mlp"}


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return "num_prototypes" in case.about.get("configuration", {})


def task_of(case: Case) -> TrackTask:
    """Return the declaration of the published settings."""
    given = case.configuration
    assert given["num_layers"] == 0, "layers of the head's own are not ours"
    assert given["do_masked_attn"], "attention is masked"
    return TrackTask(
        queries=given["num_prototypes"],
        width=given["num_output_dim"],
        inner=given["ffn_dim"],
        layers=given["num_self_attn_layers"],
        heads=given["num_heads"],
    )


def head_of(case: Case) -> TrackFinder:
    """Return our head with the published weights."""
    task, given = task_of(case), case.configuration
    model = FM4NPPMamba2(width=given["input_dim"], layers=given["num_feature_layers"])
    head = TrackFinder(model, task)
    shapes = {name: each.shape for name, each in head.state_dict().items()}
    weights = {n: w for n, w in case.weights.items() if not n.startswith(names.OTHERS)}
    ours = published.imported(weights, names.entries(task), shapes, source=str(case.path))
    head.load_state_dict(ours)
    return head.eval()


def batch_of(case: Case) -> tuple[Hidden, Batch]:
    """Return what a backbone gives of the events, and the events packed."""
    sizes, arrays = case.arrays["sizes"], case.arrays
    real = np.arange(arrays["track"].shape[1]) < sizes[:, None]
    hidden = Hidden([torch.from_numpy(layer[real]) for layer in arrays["features"]])
    batch = Batch(
        torch.zeros(int(sizes.sum()), 4),
        torch.tensor([0, *np.cumsum(sizes)]),
        torch.arange(len(sizes)),
        {"track": torch.from_numpy(arrays["track"][real])},
    )
    return hidden, batch


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares; padding is left out, and what a copy has not."""
    head = head_of(case)
    hidden, batch = batch_of(case)
    tracks = head(hidden, batch)
    yield from _outputs(case, head, hidden, batch)
    rounds = len(tracks.masks) - 1
    for number, (masks, classes) in enumerate(zip(tracks.masks, tracks.classes, strict=True)):
        end = f"_round_{number}" if number < rounds else ""
        yield compared(case, f"class_probs{end}", classes.softmax(-1).detach())
        if f"mask_probs{end}" in case.arrays:
            yield of_points(case, f"mask_probs{end}", masks.sigmoid().transpose(1, 2), batch)
    yield from _losses(case, head, tracks, batch)
    for option, assignment in ASSIGNMENTS.items():
        yield from _assigned(case, option, assignment, tracks, batch)
    yield from _given(case)


def of_points(case: Case, name: str, padded: Tensor, batch: Batch) -> Row:
    """Return how padded states (B, L, C) compare."""
    return packed(case, name, [e[:n] for e, n in zip(padded, batch.sizes.tolist(), strict=True)])


def _outputs(case: Case, head: TrackFinder, hidden: Hidden, batch: Batch) -> Iterator[Row]:
    """Yield the averaged and the projected states, and what further heads make of the queries."""
    averaged = head.averaged(hidden)
    seen = {
        "layers_averaged": averaged,
        "projected": head.project(head.norm_states(averaged)),
        "noise_logits": further(case, "noise_mlp")(head.embedded(hidden)),
    }
    for name, each in seen.items():
        if name in case.arrays:
            yield packed(case, name, each.split(batch.sizes.tolist()))
    last: list[Tensor] = []
    hook = head.classify.register_forward_pre_hook(lambda _, given: last.append(given[0]))
    head(hidden, batch)
    hook.remove()
    for name in ("pid_logits", "track_regression"):
        yield compared(case, name, further(case, FURTHER[name])(last[-1]).detach())


def further(case: Case, theirs: str) -> MLP:
    """Return one of the authors' further heads, of the same layers."""
    weights = {n: w for n, w in case.weights.items() if n.startswith(f"{theirs}.")}
    outputs = len(weights[f"{theirs}.model.4.bias"])
    module = MLP(case.configuration["num_output_dim"], outputs)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    entries = [
        published.Entry(each.ours.removeprefix("."), each.theirs) for each in names.mlp("", theirs)
    ]
    module.load_state_dict(published.imported(weights, entries, shapes, source=theirs))
    return module


def _losses(case: Case, head: TrackFinder, tracks: Tracks, batch: Batch) -> Iterator[Row]:
    """Yield the terms of each event and round, the last first, what was matched, and gradients."""
    order = [len(tracks.masks) - 1, *range(len(tracks.masks) - 1)]
    rows, found = [], []
    for event, track in enumerate(batch.per_point["track"].split(batch.sizes.tolist())):
        truth = losses.truth_of(track, noise_is_a_class=False)
        terms = []
        for number in order:
            mask, classes = tracks.masks[number][event, :, : len(track)], tracks.classes[number]
            matched = losses.match(mask, classes[event], truth)
            terms.append(losses.terms(mask, classes[event], truth, matched))
            if number == order[0]:
                pairs = zip(*(each.tolist() for each in matched), strict=True)
                found += [(event, query, thing) for query, thing in pairs]
        rows.append(torch.stack(terms))
    yield compared(case, "loss_terms", torch.stack(rows).detach())
    yield compared(case, "matched", sorted(found), tolerance=0.0)
    weights = torch.tensor(case.configuration["loss_weights"])
    of_event = (torch.stack(rows) * weights).sum((1, 2))
    yield compared(case, "loss_of_event", of_event.detach())
    total = torch.stack(list(losses.track_finding(tracks, batch).values())).sum()
    mean = case.arrays["loss_of_event"].mean()
    difference = abs(float(total.detach()) - mean) / mean
    yield Row("loss (mean of loss_of_event)", difference, case.tolerance("loss_of_event"))
    yield _gradients(case, head, of_event.sum())


def _gradients(case: Case, head: TrackFinder, loss: Tensor) -> Row:
    """Return how the norms of gradients compare, of the weights that track finding has."""
    head.zero_grad()
    loss.backward(retain_graph=True)
    theirs = {entry.ours: entry.names[0] for entry in names.entries(task_of(case))}
    norms = {
        theirs[name]: 0.0 if each.grad is None else float(each.grad.double().norm())
        for name, each in head.named_parameters()
    }
    pairs = [
        (norms[str(name)], norm)
        for name, norm in zip(case.arrays["grad_names"], case.arrays["grad_loss_sum"], strict=True)
        if not str(name).startswith(names.OTHERS)
    ]
    found, reference = np.array(pairs).T
    difference = np.abs(found - reference).max() / np.abs(reference).max()
    return Row("grad_loss_sum", float(difference), case.tolerance("grad_loss_sum"))


def _assigned(
    case: Case, option: int, assignment: Assignment, tracks: Tracks, batch: Batch
) -> Iterator[Row]:
    """Yield which query each point goes to, -1 for none, and its class, 0 for none."""
    track, _ = assign(tracks, batch, assignment)
    of_query = tracks.classes[-1].argmax(-1)
    classes = of_query[batch.event, (track - 1).clamp(min=0)].where(track > 0, 0)
    for name, ours in (("assignment", track - 1), ("assigned_class", classes)):
        column = ours.unsqueeze(1).split(batch.sizes.tolist())
        array = f"{name}_option_{option}"
        events = zip(case.arrays[array], column, strict=True)
        wrong = sum(int((theirs[: len(e)] != e[:, 0].numpy()).sum()) for theirs, e in events)
        yield Row(array, float(wrong), 0.0)


def _given(case: Case) -> Iterator[Row]:
    """Yield the assignments of made-up logits, some of which claim nothing."""
    masks = torch.from_numpy(case.arrays["given_mask_logits"])
    classes = torch.from_numpy(case.arrays["given_class_logits"])
    events, _, points = masks.shape
    real = torch.ones(events, points, dtype=torch.bool)
    batch = Batch(
        torch.zeros(events * points, 4),
        torch.arange(events + 1) * points,
        torch.arange(events),
    )
    tracks = Tracks([masks], [classes], real)
    for option, assignment in ASSIGNMENTS.items():
        track, _ = assign(tracks, batch, assignment)
        of_query = classes.argmax(-1)[batch.event, (track - 1).clamp(min=0)].where(track > 0, 0)
        for name, ours in (("assignment", track - 1), ("class", of_query)):
            array = f"given_{name}_option_{option}"
            yield compared(case, array, ours.unflatten(0, (events, points)), tolerance=0.0)
