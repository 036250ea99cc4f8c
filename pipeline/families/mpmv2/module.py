"""MPMv2: an encoder, a decoder between whose tokens are masks, and heads.

arXiv:2409.12589. Axes: P constituents, packed · B jets · K constituents that are seen · M that are
masked · R registers · W width · C width of what a head is given · D predicted features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.mpmv2.heads import (
    ANGLE_SCALE,
    HEADS,
    Clusters,
    FlowMatching,
    NormalisingFlow,
    Prediction,
    SetFlow,
)
from pipeline.families.mpmv2.spec import INPUTS, MPMv2
from pipeline.families.tokenizer import MOST_CONSTITUENTS
from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective
from pipeline.nn.flow import midpoint
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style

TOKEN_STD = 0.02  # of mask tokens, places and registers as they are drawn


@dataclass(frozen=True)
class Masked:
    """Rows (M) of the constituents that were hidden, and what each head predicts of them."""

    rows: Tensor
    predictions: Mapping[str, Prediction]


class Encoder(nn.Module):
    """Blocks over the constituents of each jet, registers before them, and a last norm."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.entry = nn.Linear(len(INPUTS[model.inputs]), model.width)
        self.registers = nn.Parameter(torch.randn(model.registers, model.width) * TOKEN_STD)
        self.blocks = nn.ModuleList(
            Block(style(model, model.width, model.heads)) for _ in range(model.layers)
        )
        self.norm = nn.LayerNorm(model.width)

    def forward(self, x: Tensor, packed: "Packed") -> tuple[Tensor, Tensor]:
        """Return x (K, W) and the registers (B · R, W) after all blocks.

        `x` are embedded constituents, `embedded`, of each jet one at least.
        """
        together = packed.join(self.registers.repeat(packed.lengths.events, 1), x)
        for block in self.blocks:
            together = block(together, packed.lengths)
        together = self.norm(together) if len(self.blocks) else together
        return together[packed.points], together[packed.registers]

    def embedded(self, batch: Batch) -> Tensor:
        """Return the constituents (P, W) as the blocks take them."""
        points = batch.points.to(self.entry.weight.dtype).clone()
        points[:, 1:3] *= ANGLE_SCALE
        x: Tensor = self.entry(points)
        return x


@dataclass(frozen=True)
class Packed:
    """Where R registers and the points of each of B jets stand in one sequence."""

    lengths: Lengths
    registers: Tensor
    points: Tensor

    @classmethod
    def of(cls, jets: Lengths, registers: int) -> "Packed":
        """Return the places for jets of such lengths."""
        lengths, device = jets.longer(registers), jets.offsets.device
        extra = torch.arange(registers, device=device)
        points = torch.arange(jets.tokens, device=device) + registers * (jets.event + 1)
        return cls(lengths, (lengths.offsets[:-1, None] + extra).flatten(), points)

    def join(self, registers: Tensor, points: Tensor) -> Tensor:
        """Return one sequence of registers (B · R, W) and points (P, W)."""
        x = points.new_empty(self.lengths.tokens, points.shape[1])
        x = x.index_copy(0, self.registers, registers.to(x.dtype))
        return x.index_copy(0, self.points, points)


class Decoder(nn.Module):
    """Blocks of its own width over what the encoder saw, and mask tokens in between."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.entry = nn.Linear(model.width, model.decoder_width)
        self.blocks = nn.ModuleList(
            Block(style(model, model.decoder_width, model.decoder_heads))
            for _ in range(model.decoder_layers)
        )
        self.norm = nn.LayerNorm(model.decoder_width)

    def forward(
        self, seen: Tensor, registers: Tensor, masks: Tensor, drawn: "Drawn", batch: Batch
    ) -> Tensor:
        """Return the masked constituents (M, C), of what is `seen` (K, W) and masks (M, C)."""
        x = masks.new_empty(batch.lengths.tokens, masks.shape[1])
        x = x.index_copy(0, drawn.rows, masks).index_copy(0, drawn.left, self.entry(seen))
        packed = Packed.of(batch.lengths, len(registers) // batch.lengths.events)
        x = packed.join(self.entry(registers), x)
        for block in self.blocks:
            x = block(x, packed.lengths)
        decoded: Tensor = self.norm(x[packed.points[drawn.rows]])
        return decoded


class Pretrainer(Collective):
    """Encoder, decoder and heads; what is masked is drawn for each jet."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        self.backbone = Encoder(model)
        self.mask = nn.Parameter(torch.randn(model.context) * TOKEN_STD)
        self.places = nn.Embedding(MOST_CONSTITUENTS, model.context)
        nn.init.normal_(self.places.weight, std=TOKEN_STD)
        self.decoder = Decoder(model)
        objectives = [name for name in model.objective_weights if name in model.OBJECTIVES]
        self.heads = nn.ModuleDict({name: HEADS[name](model) for name in objectives})

    @torch.no_grad()
    def prepare(self, batches: Sequence[Batch]) -> None:
        """Put centres among the constituents of the first batch, if they are predicted."""
        for head in self.heads.values():
            if isinstance(head, Clusters) and self.training and head.centres.is_fresh:
                head.begin(batches)

    def forward(self, batch: Batch) -> Masked:
        """Return what is predicted of the hidden constituents."""
        if not self.is_stepped:
            self.prepare([batch])
        sight = self._sight(batch)
        predictions: dict[str, Prediction] = {}
        for name, head in self.heads.items():
            if isinstance(head, SetFlow):
                there, entry = head.start(batch, sight.drawn.rows)
                predictions[name] = head(self._with(entry, sight), there)
            else:
                predictions[name] = head(sight.context, batch, sight.drawn.rows)
        return Masked(sight.drawn.rows, predictions)

    @torch.no_grad()
    def sample(self, batch: Batch, steps: int = 32) -> tuple[Tensor, dict[str, Tensor]]:
        """Return rows (M) that are hidden, and features (M, D) that each generating head draws.

        What is hidden is what `forward` hides. Flows are led back by the midpoint rule in `steps`.
        """
        sight, found = self._sight(batch), {}
        start = draws.normal(batch, "mpmv2.start", self.model.features)[sight.drawn.rows]
        times = torch.ones(len(start), device=start.device)
        for name, head in self.heads.items():
            if isinstance(head, NormalisingFlow):
                found[name] = head.sample(sight.context, start)
            elif isinstance(head, FlowMatching):
                found[name] = midpoint(partial(head.velocity, sight.context), start, times, steps)
            elif isinstance(head, SetFlow):
                velocity = partial(self._set_velocity, head, sight)
                found[name] = midpoint(velocity, start, times, steps)
        return sight.drawn.rows, found

    def _set_velocity(self, head: SetFlow, sight: "Sight", z: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (M, D) of all that is hidden at z (M, D) and time (M)."""
        velocity: Tensor = head.out(self._with(head.embedded(z, time), sight)).float()
        return velocity

    def _sight(self, batch: Batch) -> "Sight":
        """Return what heads are given, of constituents that are drawn to be hidden."""
        drawn = Drawn.of(batch, self.model.masked)
        masks = self.mask + self.places(by_pt(batch)[drawn.rows])
        x = self.backbone.embedded(batch)
        packed = Packed.of(drawn.lengths, self.model.registers)
        states, registers = self.backbone(x[drawn.left], packed)
        context = self.decoder(states, registers, masks, drawn, batch)
        return Sight(batch, drawn, states, registers, context)

    def _with(self, entry: Tensor, sight: "Sight") -> Tensor:
        """Return the context (M, C) where mask tokens carry `entry` (M, C), and no position."""
        masks = self.mask + entry
        context: Tensor = self.decoder(
            sight.states, sight.registers, masks, sight.drawn, sight.batch
        )
        return context


@dataclass(frozen=True)
class Sight:
    """What is drawn of a batch, what the encoder made of what is left, and context (M, C)."""

    batch: Batch
    drawn: "Drawn"
    states: Tensor
    registers: Tensor
    context: Tensor


def style(model: MPMv2, width: int, heads: int) -> Style:
    """Return how the blocks of encoder and decoder are."""
    return Style(
        width,
        heads,
        (2 if model.activation == "swiglu" else 4) * width,
        activation=model.activation,
        layer_scale=model.layer_scale,
        dropout=model.dropout,
    )


@dataclass(frozen=True)
class Drawn:
    """Rows (M) that are masked, rows that are `left` (K), and the lengths of what is left."""

    rows: Tensor
    left: Tensor
    lengths: Lengths

    @classmethod
    def of(cls, batch: Batch, share: float) -> "Drawn":
        """Draw what is masked: `share` of each jet, one at least, never all."""
        sizes, whole = batch.sizes, batch.lengths
        count = (sizes * share).round().clamp(min=1).minimum(sizes - 1).long()
        hidden = draws.ranks(batch, "mpmv2.masked") < count[batch.event]
        left = whole.of_events(sizes - count, lambda size: size - masked(size, share))
        rows = hidden.nonzero_static(size=whole.tokens - left.tokens).squeeze(1)
        return cls(rows, (~hidden).nonzero_static(size=left.tokens).squeeze(1), left)


def masked(size: int, share: float) -> int:
    """Return how many of so many constituents are masked, by arithmetic in single precision."""
    wanted = int(np.round(np.float32(size) * np.float32(share)))
    return min(max(wanted, 1), size - 1)


def by_pt(batch: Batch) -> Tensor:
    """Return the rank of each constituent (P) in its jet by falling pT."""
    return ranked(-batch.points[:, 0], batch)


def ranked(values: Tensor, batch: Batch) -> Tensor:
    """Return the rank of each of `values` (P) in its jet, by rising value."""
    order = values.argsort(stable=True)
    order = order[batch.event[order].argsort(stable=True)]
    rank = torch.empty_like(order)
    rank[order] = batch.index_in_event
    return rank


def backbone(model: MPMv2, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the encoder, and how a head is given constituents of which none is masked."""
    encoder = Encoder(model)

    def hidden_of(batch: Batch) -> Hidden:
        packed = Packed.of(batch.lengths, model.registers)
        return Hidden([encoder(encoder.embedded(batch), packed)[0]])

    return encoder, hidden_of


def build(model: MPMv2, store: Store | None) -> Pretrainer:
    """Return the module; nothing of the store decides its shape."""
    return Pretrainer(model)
