"""Particle Transformer over packed jets (Qu, Li, Qian, arXiv:2202.03772, §4).

Axes: P particles, packed · B jets · F inputs · W width · H heads · K pairwise features · S pairs,
U unordered pairs.

The blocks are NormFormer's (Shleifer, Weston, Ott, arXiv:2110.09456, §2): LayerNorm before and
behind attention, a factor for each head before they are mixed, LayerNorm inside the feed-forward,
and a factor for each channel of what goes past it. The class token looks at itself and all
particles (CaiT: Touvron et al., arXiv:2103.17239, §3), and only it changes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.interactions import interaction_of
from pipeline.families.jet_columns import CHOICES
from pipeline.families.part.spec import EXPANSION, ParT
from pipeline.nn.attention import Bias, Lengths, attend, single_query_attention
from pipeline.nn.batch import Batch
from pipeline.nn.classifier import Classifier, States, looking
from pipeline.nn.hidden import HiddenOf
from pipeline.nn.interactions import features
from pipeline.nn.norms import norm_of
from pipeline.nn.pairs import Pairs

TOKEN_STD = 0.02


class PairEmbedding(nn.Module):
    """From features of pairs to the bias of each head: layers of which each has a norm behind it.

    There is a norm before the first, and an activation between two.
    """

    def __init__(self, model: ParT) -> None:
        super().__init__()
        interaction = interaction_of(model.interaction)
        assert interaction is not None, "a plain transformer has no pairs"
        self.interaction, self.columns = interaction, interaction.places(model.columns)
        sizes = (interaction.features, *model.pair_widths, model.heads)
        layers: list[nn.Module] = [norm_of(model.norm, sizes[0])]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), norm_of(model.norm, outputs), nn.GELU()]
        self.net = nn.Sequential(*layers[:-1])

    def forward(self, points: Tensor, lengths: Lengths) -> Bias:
        """Return the bias of all pairs of points (P, C), which all blocks share."""
        pairs = Pairs(lengths)
        pairwise = features(self.interaction, points[:, self.columns], pairs)
        values = self.net(pairwise)
        return pairs.bias(values[pairs.mirrored] if self.interaction.symmetric else values)


class HeadedAttention(nn.Module):
    """Multi-head attention whose heads have each a factor, before they are mixed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.scale = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None) -> Tensor:
        """Return (P, W): what each particle sees of its jet."""
        q, k, v = (each(x).unflatten(-1, (self.heads, -1)) for each in (self.q, self.k, self.v))
        return self._mixed(attend(q, k, v, lengths, bias=bias))

    def attend_token(self, token: Tensor, x: Tensor, offsets: Tensor) -> Tensor:
        """Return (B, W): what the token (B, W) of each jet sees of x, cut at `offsets`."""
        q, k, v = (
            layer(each).unflatten(-1, (self.heads, -1))
            for layer, each in ((self.q, token), (self.k, x), (self.v, x))
        )
        return self._mixed(single_query_attention(q, k, v, offsets))

    def _mixed(self, seen: Tensor) -> Tensor:
        out: Tensor = self.out((seen * self.scale.unsqueeze(-1)).flatten(1))
        return out


class Block(nn.Module):
    """Attention and feed-forward, as NormFormer has them."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = EXPANSION * width
        self.before, self.behind = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = HeadedAttention(width, heads)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm, self.norm_inside = nn.LayerNorm(width), nn.LayerNorm(inner)
        self.past = nn.Parameter(torch.ones(width))
        self.activation, self.dropout = nn.GELU(), nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None) -> Tensor:
        """Return the particles (P, W) after the block."""
        return self._fed(x, self.attention(self.before(x), lengths, bias))

    def attend_token(self, token: Tensor, x: Tensor, batch: Batch) -> Tensor:
        """Return the tokens (B, W) after they looked at themselves and at the particles (P, W)."""
        seen, offsets = with_token(x, token, batch)
        return self._fed(token, self.attention.attend_token(token, self.before(seen), offsets))

    def _fed(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.behind(attended))
        inside = self.dropout(self.activation(self.up(self.norm(x))))
        return self.past * x + self.dropout(self.down(self.norm_inside(inside)))


def with_token(x: Tensor, token: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return (P + B, W): the particles, behind those of each jet its token; and where it is cut."""
    offsets = batch.offsets + torch.arange(len(batch.offsets), device=batch.offsets.device)
    rows = torch.arange(len(x), device=x.device) + batch.event
    both = x.new_empty(len(x) + len(token), x.shape[1])
    both = both.index_copy(0, rows, x).index_copy(0, offsets[1:] - 1, token)
    return both, offsets


class Backbone(nn.Module):
    """Particles embedded, through blocks with pairwise biases, and seen by the class token."""

    def __init__(self, model: ParT) -> None:
        super().__init__()
        width = model.width
        sizes = (len(CHOICES[model.inputs]), *model.embedding, width)
        self.inputs = sizes[0]
        self.norm_inputs = norm_of(model.norm, sizes[0])
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.LayerNorm(inputs), nn.Linear(inputs, outputs), nn.GELU()]
        self.embedding = nn.Sequential(*layers)
        count = model.class_layers if model.layers else 0
        self.blocks = nn.ModuleList(
            Block(width, model.heads, model.dropout) for _ in range(model.layers)
        )
        self.class_blocks = nn.ModuleList(Block(width, model.heads, 0.0) for _ in range(count))
        if model.layers:
            self.pairs = PairEmbedding(model) if model.interaction else None
            self.token = nn.Parameter(torch.randn(width) * TOKEN_STD)
            self.norm = nn.LayerNorm(width)

    def forward(self, batch: Batch) -> States:
        """Return the particles (P, W) and the jets (B, W); without blocks particles alone."""
        x = self.embedding(self.norm_inputs(batch.points[:, : self.inputs]))
        if not self.blocks:
            return x, None
        lengths = Lengths.of(batch.offsets)
        bias = self.pairs(batch.points, lengths) if self.pairs is not None else None
        for block in self.blocks:
            x = block(x, lengths, bias)
        token = self.token.expand(len(batch.sizes), -1)
        for block in self.class_blocks:
            assert isinstance(block, Block)
            token = block.attend_token(token, x, batch)
        return x, self.norm(token)


def backbone(model: ParT, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given particles and jets."""
    backbone = Backbone(model)
    return backbone, looking(backbone)


def build(model: ParT, store: Store | None) -> Classifier:
    """Return the module; nothing of it depends on the store."""
    return Classifier(Backbone(model), model.width, model.classes)
