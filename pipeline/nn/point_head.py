"""A head on points: self-attention in each event, and a linear layer.

Axes: P points, packed · W width.
"""

from torch import Tensor, nn

from pipeline.families import Family
from pipeline.nn.adapter import Adapter
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from pipeline.nn.transformer import Block, Style


class PointHead(nn.Module):
    """The backbone's layers combined, a block of self-attention in each event, a linear layer."""

    def __init__(self, model: Family, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.adapter = Adapter(model, width)
        self.among = Block(Style(width=width, heads=heads, inner=2 * width))
        self.out = nn.Linear(width, outputs)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return the outputs of each point (P, outputs)."""
        points = self.among(self.adapter(hidden.points), batch.lengths)
        outputs: Tensor = self.out(points)
        return outputs
