"""Low-rank adaptation (Hu et al., arXiv:2106.09685): each matrix W becomes W + B A, B A of rank r.

A is drawn at random and B is zero, so that nothing is changed before the first step. The rank is
the whole of the scale: α = r.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """What is added to a matrix of `outputs` rows and `inputs` columns."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed matrix."""
        return weight + self.up @ self.down


def adapt(module: nn.Module, rank: int) -> None:
    """Freeze `module`, and give each of its linear layers a change of `rank` that can be trained.

    Raises:
        ValueError: It has no linear layer.
    """
    module.requires_grad_(False)
    layers = [each for each in module.modules() if isinstance(each, nn.Linear)]
    if not layers:
        message = f"{type(module).__name__}: no linear layer to adapt; choose another mode"
        raise ValueError(message)
    for layer in layers:
        rows, columns = layer.weight.shape
        most = min(rank, rows, columns)
        parametrize.register_parametrization(layer, "weight", LowRank(rows, columns, most))
