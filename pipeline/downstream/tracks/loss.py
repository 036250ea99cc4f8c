"""Track finding: class, dice and focal losses of queries that are matched to true tracks.

Axes: B events · P points, packed · Q queries · T true tracks · L points of an event.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pipeline.downstream.tracks.queries import NOISE, NOTHING, TRACK, Tracks
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses

# FM4NPP's downstream recipe: costs of the assignment and weights of the loss.
COST_CLASS, COST_DICE, COST_FOCAL = 0.5, 1.0, 30.0
WEIGHT_FOUND, WEIGHT_NOTHING, WEIGHT_DICE, WEIGHT_FOCAL = 0.5, 0.1, 1.0, 30.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def track_finding(tracks: Tracks, batch: Batch) -> Losses:
    """Return class, dice and focal losses, summed over the rounds, each of which is matched."""
    truths = [_truth(track, tracks.masks[-1].shape[-1]) for track in _events(batch)]
    losses: Losses = {}
    for masks, classes in zip(tracks.masks, tracks.classes, strict=True):
        for name, value in _one_round(masks.float(), classes.float(), truths, batch).items():
            losses[name] = losses.get(name, torch.zeros_like(value)) + value
    return losses


@dataclass(frozen=True)
class Truth:
    """What is to be found in one event: T masks of 0 and 1 (T, L), and what each is (T)."""

    masks: Tensor
    classes: Tensor


def _events(batch: Batch) -> tuple[Tensor, ...]:
    """Return the true tracks of each event's points."""
    return batch.per_point["track"].split(batch.sizes.tolist())


def _truth(track: Tensor, length: int) -> Truth:
    """Return the tracks of one event, and its noise (track 0) as one thing more to be found."""
    ids = track.unique()
    masks = functional.pad((track == ids.unsqueeze(1)).float(), (0, length - len(track)))
    return Truth(masks, torch.where(ids == 0, NOISE, TRACK))


def _one_round(masks: Tensor, classes: Tensor, truths: list[Truth], batch: Batch) -> Losses:
    """Return the losses of one round: everything to be found is matched to one query."""
    parts: dict[str, list[Tensor]] = {"class": [], "dice": [], "focal": []}
    sizes = batch.sizes.tolist()
    for mask, logits, truth, size in zip(masks, classes, truths, sizes, strict=True):
        rows, columns = _match(mask, logits, truth, size)
        claims = torch.full((len(logits),), NOTHING, device=logits.device)
        claims[rows] = truth.classes[columns]
        entropy = functional.cross_entropy(logits, claims, reduction="none")
        weight = torch.where(claims == NOTHING, WEIGHT_NOTHING, WEIGHT_FOUND)
        parts["class"].append((entropy * weight).mean())
        claimed, true = mask[rows], truth.masks[columns]
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
def _match(mask: Tensor, classes: Tensor, truth: Truth, size: int) -> tuple[Tensor, Tensor]:
    """Return (queries, things): the cheapest one-to-one match of what is to be found."""
    p = mask.sigmoid()
    wanted = truth.masks.T
    dice = 1 - (2 * p @ wanted + 1) / (p.sum(-1)[:, None] + wanted.sum(0) + 1)
    inside, outside = _focal(mask, torch.ones_like(mask)), _focal(mask, torch.zeros_like(mask))
    focal = (inside @ wanted + outside @ (1 - wanted)) / size
    right = classes.softmax(-1)[:, truth.classes]
    cost = COST_FOCAL * focal + COST_DICE * dice - COST_CLASS * right
    # A cost that is NaN has no cheapest match; any will do, since the loss is NaN too.
    rows, columns = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
    return torch.as_tensor(rows, device=mask.device), torch.as_tensor(columns, device=mask.device)
