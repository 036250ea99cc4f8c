"""FM4NPP's objective (arXiv:2508.14087): where the next neighbours of every point are.

Axes: P points, packed · k neighbours.
"""

from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses, event_mean


def neighbours(predicted: Tensor, batch: Batch) -> Losses:
    """Return the masked mean squared error of the k next neighbours' (eta, phi, r).

    `predicted` is (P, k, 3); neighbours that do not exist do not count (FM4NPP's objective).
    """
    wanted = batch.per_point["neighbours"]
    exists = wanted >= 0
    start = batch.offsets[:-1][batch.event].unsqueeze(1)
    targets = batch.points[:, 1:][(wanted + start).clamp(min=0)]
    squared = (predicted.float() - targets).square().mean(-1) * exists
    count = exists.sum(1)
    return {"neighbours": event_mean(squared.sum(1) / count.clamp(min=1), count.float(), batch)}
