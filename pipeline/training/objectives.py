"""What trainings minimise: losses that are means over events, so the same at any world size.

Axes: B events · P points, packed · k neighbours · Q queries · T true tracks · L points of an event.
"""

from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pipeline.training.batch import Batch
from pipeline.training.models.tracks import Tracks

Losses = dict[str, Tensor]

# FM4NPP's downstream recipe: costs of the assignment and weights of the loss.
COST_CLASS, COST_DICE, COST_FOCAL = 0.5, 1.0, 30.0
WEIGHT_TRACK, WEIGHT_NO_TRACK, WEIGHT_DICE, WEIGHT_FOCAL = 0.5, 0.1, 1.0, 30.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def event_mean(values: Tensor, weights: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of each event's weighted mean of `values` (P)."""
    zeros = values.new_zeros(len(batch.sizes))
    total = zeros.index_add(0, batch.event, values * weights)
    count = zeros.index_add(0, batch.event, weights)
    return (total / count.clamp(min=1)).mean()


def next_neighbours(predicted: Tensor, batch: Batch) -> Losses:
    """Return the masked mean squared error of the k next neighbours' (eta, phi, r).

    `predicted` is (P, k, 3); neighbours that do not exist do not count (FM4NPP's objective).
    """
    exists = batch.neighbours >= 0
    start = batch.offsets[:-1][batch.event].unsqueeze(1)
    targets = batch.points[:, 1:][(batch.neighbours + start).clamp(min=0)]
    squared = (predicted.float() - targets).square().mean(-1) * exists
    count = exists.sum(1)
    return {"neighbours": event_mean(squared.sum(1) / count.clamp(min=1), count.float(), batch)}


def track_finding(tracks: Tracks, batch: Batch) -> Losses:
    """Return class, dice and focal losses, summed over the rounds, each of which is matched."""
    truths = list(_truths(batch, tracks.masks[-1].shape[-1]))
    losses: Losses = {}
    for masks, classes in zip(tracks.masks, tracks.classes, strict=True):
        for name, value in _one_round(masks.float(), classes.float(), truths, batch).items():
            losses[name] = losses.get(name, torch.zeros_like(value)) + value
    return losses


def _truths(batch: Batch, length: int) -> Iterator[Tensor]:
    """Yield each event's true tracks as 0/1 masks (T, L); noise (track 0) belongs to none."""
    for start, stop in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        track = batch.track[start:stop]
        ids = track.unique()
        mask = (track == ids[ids > 0].unsqueeze(1)).float()
        yield functional.pad(mask, (0, length - (stop - start)))


def _one_round(masks: Tensor, classes: Tensor, truths: list[Tensor], batch: Batch) -> Losses:
    """Return the losses of one round: every true track is matched to one query."""
    parts: dict[str, list[Tensor]] = {"class": [], "dice": [], "focal": []}
    sizes = batch.sizes.tolist()
    for mask, logits, truth, size in zip(masks, classes, truths, sizes, strict=True):
        rows, columns = _match(mask, logits, truth, size)
        taken = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        taken[rows] = True
        entropy = functional.cross_entropy(logits, (~taken).long(), reduction="none")
        weight = torch.where(taken, WEIGHT_TRACK, WEIGHT_NO_TRACK)
        parts["class"].append((entropy * weight).mean())
        claimed, true = mask[rows], truth[columns]
        matched = max(1, len(rows))
        parts["dice"].append(WEIGHT_DICE * _dice(claimed, true).sum() / matched)
        parts["focal"].append(WEIGHT_FOCAL * _focal(claimed, true).sum() / (size * matched))
    return {name: torch.stack(values).mean() for name, values in parts.items()}


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - dice of each pair of rows (T, L), smoothed by 1."""
    p = logits.sigmoid()
    return 1 - (2 * (p * truth).sum(-1) + 1) / (p.sum(-1) + truth.sum(-1) + 1)


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss (arXiv 1708.02002, eq. 5) of each logit, of the shape of `logits`."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = torch.where(truth > 0, 1 - logits.sigmoid(), logits.sigmoid())
    alpha = torch.where(truth > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return alpha * wrong**FOCAL_GAMMA * entropy


@torch.no_grad()
def _match(mask: Tensor, classes: Tensor, truth: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return (queries, tracks): the cheapest one-to-one match of true tracks (T, L)."""
    p = mask.sigmoid()
    dice = 1 - (2 * p @ truth.T + 1) / (p.sum(-1)[:, None] + truth.sum(-1)[None] + 1)
    inside, outside = _focal(mask, torch.ones_like(mask)), _focal(mask, torch.zeros_like(mask))
    focal = (inside @ truth.T + outside @ (1 - truth).T) / size
    track = classes.softmax(-1)[:, :1]
    cost = COST_FOCAL * focal + COST_DICE * dice - COST_CLASS * track
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows, device=mask.device), torch.as_tensor(columns, device=mask.device)
