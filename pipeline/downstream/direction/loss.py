"""The objective of directions of neutrino telescopes: the angle between the found and the true one.

Axes: B events.
"""

import torch
from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses

CLIP = 1e-4  # PolarBERT's: at 1 the slope of arccos has no bound


def unit_vectors(batch: Batch) -> Tensor:
    """Return the unit vectors (B, 3) towards the `azimuth` and `zenith` of each event, rad."""
    azimuth, zenith = (batch.per_event[name] for name in ("azimuth", "zenith"))
    level = zenith.sin()
    return torch.stack([azimuth.cos() * level, azimuth.sin() * level, zenith.cos()], 1)


def opening_angle(found: Tensor, batch: Batch) -> Losses:
    """Return the mean angle, rad, between unit vectors `found` (B, 3) and the truth.

    The cosine is clipped to ±(1 - 1e-4), so no angle is less than 0.014 rad (0.8 degrees).
    """
    cosine = (found.float() * unit_vectors(batch)).sum(1)
    return {"angle": cosine.clamp(CLIP - 1, 1 - CLIP).arccos().mean()}
