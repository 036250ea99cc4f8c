"""PointGPT's objective: the Chamfer distance between predicted and true points of each patch.

Axes: G patches of all events, packed · K points of a patch.
"""

from torch import Tensor

from pipeline.families.pointgpt.module import Predicted
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses


def chamfer(predicted: Predicted, batch: Batch) -> Losses:
    """Return the mean over events of the mean over patches of both Chamfer distances, summed.

    From each point to the nearest of the other set and back: the distance itself (L1) and its
    square (L2), as arXiv:2305.11487, §3.3 sums them. Coordinates are normalised.
    """
    patches = predicted.patches
    first, second = distances(predicted.points.float(), patches.points)
    parts = {"chamfer_l1": first, "chamfer_l2": second}
    counts, event = patches.lengths.sizes, patches.lengths.event
    zeros = first.new_zeros(batch.lengths.events)
    return {name: (zeros.index_add(0, event, each) / counts).mean() for name, each in parts.items()}


def distances(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Chamfer distances of each patch (G), of first and second power.

    Each is the mean over the points of one set, plus that over the other, of the distance to the
    nearest point; L1 is half the sum, as PointGPT has it. predicted, true: (G, K, 3).
    """
    squared = (predicted.unsqueeze(2) - true.unsqueeze(1)).square().sum(-1)
    there, back = squared.amin(2), squared.amin(1)
    first = (_root(there).mean(1) + _root(back).mean(1)) / 2
    return first, there.mean(1) + back.mean(1)


def _root(squared: Tensor) -> Tensor:
    """Return the square root, whose slope stays finite where two points are the same."""
    return squared.clamp(min=1e-12).sqrt()
