"""Particle Transformer over packed jets (Qu, Li, Qian, arXiv:2202.03772, §4).

Axes: P particles, packed · B jets · F inputs · W width · H heads · K pairwise features · S pairs,
U unordered pairs.

The blocks are close to NormFormer's (Shleifer, Weston, Ott, arXiv:2110.09456, §2): LayerNorm before
and behind attention, LayerNorm inside the feed-forward, and a factor for each channel of the
residual past it. The factors of "heads" scale as many slices of what the heads were mixed to, and
not the heads themselves, as in the authors' code (hqucms/weaver-core at 154db69). The class token
attends to itself and all particles (CaiT: Touvron et al., arXiv:2103.17239, §3), and only it
changes; it is normalised as a key and value, not as the query.
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.interactions import interaction_of
from pipeline.families.jet_columns import CHOICES
from pipeline.families.part.spec import EXPANSION, ParT
from pipeline.nn.attention import Bias, attend, single_query_attention
from pipeline.nn.batch import Batch
from pipeline.nn.classifier import Classifier, States, looking
from pipeline.nn.hidden import HiddenOf
from pipeline.nn.interactions import features
from pipeline.nn.lengths import Lengths
from pipeline.nn.norms import norm_of
from pipeline.nn.pairs import Pairs

TOKEN_STD = 0.02


class PairEmbedding(nn.Module):
    """From features of pairs to the bias of each head: linear layers, each with a norm behind it.

    There is a norm before the first, and a GELU behind each other norm, the last one included if
    `bias_activation` is set.
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
        self.net = nn.Sequential(*(layers if model.bias_activation else layers[:-1]))

    def forward(self, points: Tensor, lengths: Lengths) -> Bias:
        """Return the bias of all pairs of points (P, C), which all blocks share."""
        pairs = Pairs(lengths)
        pairwise = features(self.interaction, points[:, self.columns], pairs)
        values = self.net(pairwise)
        return pairs.bias(pairs.of_all(values, symmetric=self.interaction.symmetric))


class ScaledAttention(nn.Module):
    """Multi-head attention, and behind the layer that mixes the heads a factor for each slice.

    A slice has as many channels as a head.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None) -> Tensor:
        """Return (P, W): what each particle reads from its jet."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        dropout = self.dropout if self.training else 0.0
        return self._mixed(attend(q, k, v, lengths, bias=bias, dropout=dropout))

    def attend_token(self, token: Tensor, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (B, W): what the token (B, W) of each jet reads from x of its jet."""
        width = token.shape[1]
        weights, biases = self.qkv.weight, self.qkv.bias
        q = functional.linear(token, weights[:width], biases[:width])
        k, v = functional.linear(x, weights[width:], biases[width:]).chunk(2, -1)
        q, k, v = (each.unflatten(-1, (self.heads, -1)) for each in (q, k, v))
        return self._mixed(single_query_attention(q, k, v, lengths))

    def _mixed(self, attended: Tensor) -> Tensor:
        slices = self.out(attended.flatten(1)).unflatten(-1, (self.heads, -1))
        return (slices * self.scale.unsqueeze(-1)).flatten(1)


class Block(nn.Module):
    """Attention and feed-forward, with the norms of NormFormer."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = EXPANSION * width
        self.before, self.behind = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = ScaledAttention(width, heads, dropout)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm, self.norm_inside = nn.LayerNorm(width), nn.LayerNorm(inner)
        self.past = nn.Parameter(torch.ones(width))
        self.activation, self.dropout = nn.GELU(), nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None) -> Tensor:
        """Return the particles (P, W) after the block."""
        return self._fed(x, self.attention(self.before(x), lengths, bias))

    def attend_token(self, token: Tensor, x: Tensor, batch: Batch) -> Tensor:
        """Return the tokens (B, W) after they attended to themselves and the particles (P, W)."""
        seen, lengths = with_token(x, token, batch)
        return self._fed(token, self.attention.attend_token(token, self.before(seen), lengths))

    def _fed(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.behind(attended))
        inside = self.dropout(self.activation(self.up(self.norm(x))))
        return self.past * x + self.dropout(self.down(self.norm_inside(inside)))


def with_token(x: Tensor, token: Tensor, batch: Batch) -> tuple[Tensor, Lengths]:
    """Return (P + B, W): the particles, behind those of each jet its token; and their lengths."""
    lengths = batch.lengths.longer(1)
    rows = torch.arange(batch.lengths.tokens, device=x.device) + batch.event
    both = x.new_empty(lengths.tokens, x.shape[1])
    both = both.index_copy(0, rows, x).index_copy(0, lengths.offsets[1:] - 1, token)
    return both, lengths


def cyclic(offsets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the rows of jets repeated cyclically up to `length` particles, and which came first.

    Both have a value for each repeated particle of the jets cut at `offsets` (B + 1); a jet of
    `length` particles or more is not repeated.
    """
    sizes = offsets.diff()
    counts = sizes.clamp(min=length)
    jet = torch.arange(len(sizes), device=sizes.device).repeat_interleave(counts)
    place = torch.arange(len(jet), device=sizes.device) - (counts.cumsum(0) - counts)[jet]
    return offsets[jet] + place % sizes[jet], place < sizes[jet]


class Backbone(nn.Module):
    """Particles embedded, through blocks with pairwise biases, and read by the class token."""

    def __init__(self, model: ParT) -> None:
        super().__init__()
        width = model.width
        sizes = (len(CHOICES[model.inputs]), *model.embedding, width)
        self.inputs, self.padding = sizes[0], model.padding
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
        initialise(self, model.initial)

    def forward(self, batch: Batch) -> States:
        """Return the particles (P, W) and the jets (B, W); without blocks particles alone."""
        x = self.embedding(self._normed(batch))
        if not self.blocks:
            return x, None
        lengths = batch.lengths
        bias = self.pairs(batch.points, lengths) if self.pairs is not None else None
        for block in self.blocks:
            x = block(x, lengths, bias)
        token = self.token.expand(lengths.events, -1)
        for block in self.class_blocks:
            assert isinstance(block, Block)
            token = block.attend_token(token, x, batch)
        return x, self.norm(token)

    def _normed(self, batch: Batch) -> Tensor:
        """Return the inputs (P, F) normed, by the statistics of repeated jets if so declared."""
        inputs = batch.points[:, : self.inputs]
        if not (self.training and self.padding):
            normed: Tensor = self.norm_inputs(inputs)
            return normed
        rows, first = cyclic(batch.offsets, self.padding)
        copies: Tensor = self.norm_inputs(inputs[rows])
        return copies[first]


def initialise(backbone: Backbone, law: str) -> None:
    """Draw the weights again whose initial law is not that of torch's linear layers.

    "2022" (weaver-core at 34e2ee2): the matrix of query, key and value Xavier uniform as one,
    biases of attention 0. "2024" (at 154db69): all matrices outside the pair network Xavier
    uniform, those of query, key and value each by itself, and biases 0; in block l the last layers
    of both branches are divided by √(2 l), l from 1.
    """
    blocks = [each for each in backbone.modules() if isinstance(each, Block)]
    if law == "2022":
        for block in blocks:
            nn.init.xavier_uniform_(block.attention.qkv.weight)
            _without_bias(block.attention.qkv, block.attention.out)
        return
    linear = [each for each in backbone.embedding if isinstance(each, nn.Linear)]
    for block in blocks:
        attention = block.attention
        linear += [attention.out, block.up, block.down]
        for part in attention.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(part)
        _without_bias(attention.qkv)
    xavier(linear)
    with torch.no_grad():
        for depth, block in enumerate(blocks[: len(backbone.blocks)], 1):
            block.attention.out.weight.div_((2 * depth) ** 0.5)
            block.down.weight.div_((2 * depth) ** 0.5)


def xavier(layers: Iterable[nn.Linear]) -> None:
    """Draw the weights of `layers` by Xavier's uniform law, and set their biases to 0."""
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        _without_bias(layer)


def _without_bias(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.zeros_(layer.bias)


def backbone(model: ParT, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given particles and jets."""
    backbone = Backbone(model)
    return backbone, looking(backbone)


def build(model: ParT, store: Store | None) -> Classifier:
    """Return the module; nothing of it depends on the store."""
    module = Classifier(
        Backbone(model),
        model.width,
        model.classes,
        hidden=model.class_widths,
        dropout=model.dropout,
    )
    if model.initial == "2024":
        head = (*module.hidden.modules(), module.classes)
        xavier(each for each in head if isinstance(each, nn.Linear))
    return module
