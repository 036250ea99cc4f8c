"""Track finding: class, dice and focal losses of queries that are matched to true tracks.

As FM4NPP's code has them (train/downstream/loss.py of github.com/FM4NPP/PP_collision at 863cb28),
one event at a time. Axes: B events · P points, packed · Q queries · T true tracks · L points of an
event.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pipeline.downstream.tracks.queries import EPSILON, NOISE, NOTHING, TRACK, Tracks
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses

# FM4NPP's downstream recipe: costs of the assignment and weights of the loss.
COST_CLASS, COST_DICE, COST_FOCAL = 0.5, 1.0, 30.0
WEIGHT_FOUND, WEIGHT_NOTHING, WEIGHT_DICE, WEIGHT_FOCAL = 0.5, 0.1, 1.0, 30.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def track_finding(tracks: Tracks, batch: Batch) -> Losses:
    """Return class, dice and focal losses, summed over the rounds, each of which is matched.

    Each is a sum over the queries of an event, a mean over events; the focal loss of a query is a
    mean over points.
    """
    classes = tracks.classes[-1].shape[-1]
    events = batch.per_point["track"].split(batch.sizes.tolist())
    truths = [truth_of(track, noise_is_a_class=classes > NOISE) for track in events]
    losses: Losses = {}
    for masks, logits in zip(tracks.masks, tracks.classes, strict=True):
        rows = []
        for mask, of_queries, truth in zip(masks.float(), logits.float(), truths, strict=True):
            mask_of_event = mask[:, : truth.masks.shape[1]]
            matched = match(mask_of_event, of_queries, truth)
            rows.append(terms(mask_of_event, of_queries, truth, matched))
        found, nothing, dice, focal = torch.stack(rows).mean(0)
        parts = {
            "class": WEIGHT_FOUND * found + WEIGHT_NOTHING * nothing,
            "dice": WEIGHT_DICE * dice,
            "focal": WEIGHT_FOCAL * focal,
        }
        for name, value in parts.items():
            losses[name] = losses.get(name, torch.zeros_like(value)) + value
    return losses


@dataclass(frozen=True)
class Truth:
    """What is to be found in one event: T masks of 0 and 1 (T, L), and what each is (T)."""

    masks: Tensor
    classes: Tensor


def truth_of(track: Tensor, *, noise_is_a_class: bool) -> Truth:
    """Return the tracks of one event (L), and its noise (track 0) as one thing more to be found."""
    ids = track.unique()
    noise = NOISE if noise_is_a_class else TRACK
    return Truth((track == ids.unsqueeze(1)).float(), torch.where(ids == 0, noise, TRACK))


Matched = tuple[Tensor, Tensor]


def terms(mask: Tensor, classes: Tensor, truth: Truth, matched: Matched) -> Tensor:
    """Return four losses of an event: class of matched and of unmatched queries, dice, focal.

    mask (Q, L) and classes (Q, C) are logits; `matched` are queries and what each is to find.
    """
    rows, columns = matched
    claims = torch.full((len(classes),), NOTHING, device=classes.device)
    claims[rows] = truth.classes[columns]
    right = classes.softmax(-1).gather(1, claims.unsqueeze(1)).squeeze(1)
    surprise = -(right + EPSILON).log()
    found = claims != NOTHING
    claimed, true = mask[rows], truth.masks[columns]
    focal = _focal(claimed, true).sum() / mask.shape[1]
    dice = _dice(claimed, true).sum()
    return torch.stack([(surprise * found).sum(), (surprise * ~found).sum(), dice, focal])


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - dice of each pair of rows (T, L)."""
    p = logits.sigmoid()
    return 1 - (2 * (p * truth).sum(-1) + EPSILON) / (p.sum(-1) + truth.sum(-1) + EPSILON)


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss (arXiv 1708.02002, eq. 5) of each logit, of the shape of `logits`."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = torch.where(truth > 0, 1 - logits.sigmoid(), logits.sigmoid())
    alpha = torch.where(truth > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return alpha * wrong**FOCAL_GAMMA * entropy


@torch.no_grad()
def match(mask: Tensor, classes: Tensor, truth: Truth) -> Matched:
    """Return (queries, things): the cheapest one-to-one match of what is to be found.

    Where there are more things than queries, as many as there are queries are matched.
    """
    p = mask.sigmoid()
    wanted = truth.masks.T
    dice = 1 - (2 * p @ wanted + EPSILON) / (p.sum(-1)[:, None] + wanted.sum(0) + EPSILON)
    inside, outside = _focal(mask, torch.ones_like(mask)), _focal(mask, torch.zeros_like(mask))
    focal = (inside @ wanted + outside @ (1 - wanted)) / mask.shape[1]
    right = classes.softmax(-1)[:, truth.classes]
    cost = COST_FOCAL * focal + COST_DICE * dice - COST_CLASS * right
    # A cost that is NaN has no cheapest match; any will do, since the loss is NaN too.
    rows, columns = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
    return torch.as_tensor(rows, device=mask.device), torch.as_tensor(columns, device=mask.device)
