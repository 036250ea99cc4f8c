"""Bins of features as a tokenizer: nothing is learnt. Axes: P constituents, packed."""

import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.binning.spec import Binning


class Bins(nn.Module):
    """The grid of three features; the last one's bins follow each other in the codes."""

    def __init__(self, model: Binning) -> None:
        super().__init__()
        self.model = model

    def encode(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return the code (P) of the cell that each of features (P, 3) lies in, or is next to."""
        first, step, count = self._grid(features)
        bins = ((features - first) / step).round().long()
        bins = torch.minimum(bins.clamp(min=0), count - 1)
        return (bins[:, 0] * count[1] + bins[:, 1]) * count[2] + bins[:, 2]

    def decode(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Return the features (P, 3) that the codes (P) stand for."""
        first, step, count = self._grid(codes)
        bins = torch.stack([codes // count[2] // count[1], codes // count[2], codes], 1) % count
        return first + bins * step

    def _grid(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first value, the step and the number of values of each feature, (3) each."""
        low, high = torch.tensor(self.model.ranges, device=like.device).T
        count = torch.tensor(self.model.bins, device=like.device)
        if self.model.spacing == "linspace":
            return low, (high - low) / (count - 1), count
        step = (high - low) / count
        return low + step / 2, step, count


def build(model: Binning, store: Store | None) -> Bins:
    """Return the module."""
    return Bins(model)
