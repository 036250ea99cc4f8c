"""PointGPT-type: an encoder of patches, a causal backbone over them, a decoder of the next patch.

After Chen et al., arXiv:2305.11487. Axes: G patches of all events, packed · K points of a patch ·
W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.pointgpt.patches import Patches, patches_of
from pipeline.families.pointgpt.spec import PointGPT
from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style

LONGEST = 1e4
PER_UNIT = 1000.0  # [0, 1] is taken as a sequence of a thousand places
START_STD = 0.02


@dataclass(frozen=True)
class Predicted:
    """The points of each patch as predicted from the patches before it (G, K, 3), and the truth."""

    points: Tensor
    patches: Patches


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Return sines and cosines (..., W) of places (..., A): absolute positions, no parameters.

    As in arXiv:1706.03762, §3.5, W / 2A wavelengths for each of the A coordinates; what W is too
    much stays zero.
    """
    waves = width // (2 * places.shape[-1])
    steps = torch.arange(waves, device=places.device, dtype=places.dtype)
    angles = (places.unsqueeze(-1) * PER_UNIT * LONGEST ** (-steps / waves)).flatten(-2)
    found = torch.cat([angles.sin(), angles.cos()], -1)
    return nn.functional.pad(found, (0, width - found.shape[-1]))


def directions(centres: Tensor, first: Tensor) -> Tensor:
    """Return where the centre (G, 3) of each patch lies from the one before: a unit vector (G, 3).

    Zero for the first patch of an event (`first`, G), of which nothing is before.
    """
    step = centres - centres.roll(1, 0)
    unit = step / step.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return unit.masked_fill(first.unsqueeze(-1), 0.0)


class PatchPredictor(nn.Module):
    """The whole model: from points to the next patch's points, at every patch at once."""

    def __init__(self, model: PointGPT) -> None:
        super().__init__()
        self.model = model
        width = model.width
        backbone, encoder, decoder = (
            Style(width, heads, 4 * width, norm="pre", activation="gelu") for heads in model.heads
        )
        self.embed = nn.Linear(3, width)
        self.encoder = nn.ModuleList(Block(encoder) for _ in range(model.encoder_layers))
        self.backbone = nn.ModuleList(Block(backbone) for _ in range(model.backbone_layers))
        self.decoder = nn.ModuleList(Block(decoder) for _ in range(model.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)
        nn.init.normal_(self.head.weight, std=START_STD)

    def forward(self, batch: Batch) -> Predicted:
        """Return each patch's points as predicted from the patches before it.

        Of a patch itself the decoder knows only in which direction its centre lies (the relative
        direction prompt of §3.3).
        """
        patches = patches_of(batch, self.model.patch_points, self.model.patches)
        first = torch.zeros(len(patches.centres), dtype=torch.bool, device=batch.points.device)
        first[patches.lengths.offsets[:-1]] = True
        before = self._shifted(self._tokens(patches), first)
        hide = self._hidden(batch, patches, first) if self.training else None
        seen = self._context(before, patches, first, hide)
        return Predicted(self._decoded(seen, directions(patches.centres, first)), patches)

    def _tokens(self, patches: Patches) -> Tensor:
        """Return what the encoder makes of each patch (G, W): the maximum over its points."""
        count, size = patches.points.shape[:2]
        hidden = self.embed(patches.points.flatten(0, 1))
        lengths = Lengths.equal(count, size, hidden.device)
        for block in self.encoder:
            hidden = block(hidden, lengths)
        return hidden.unflatten(0, (count, size)).amax(1)

    def _shifted(self, tokens: Tensor, first: Tensor) -> Tensor:
        """Return the token before each patch (G, W); before an event's first there is nothing."""
        return tokens.roll(1, 0).masked_fill(first.unsqueeze(-1), 0.0)

    def _context(
        self, before: Tensor, patches: Patches, first: Tensor, hide: Tensor | None
    ) -> Tensor:
        """Return what is known at each patch (G, W) of those before it that are not in `hide`."""
        position = sinusoids(patches.centres.roll(1, 0), before.shape[-1])
        hidden = before + position.to(before.dtype).masked_fill(first.unsqueeze(-1), 0.0)
        for block in self.backbone:
            hidden = block(hidden, patches.lengths, causal=True, hidden_P=hide)
        return hidden

    def _hidden(self, batch: Batch, patches: Patches, first: Tensor) -> Tensor | None:
        """Return which tokens (G) the others do not see; drawn, and never an event's start."""
        if not self.model.hidden_share:
            return None
        tokens = Batch(
            patches.centres,
            patches.lengths.offsets,
            batch.event_id,
            epoch=batch.epoch,
            seed=batch.seed,
            known=patches.lengths,
        )
        return draws.bernoulli(tokens, "pointgpt.hidden", self.model.hidden_share) & ~first

    def _decoded(self, seen: Tensor, direction: Tensor) -> Tensor:
        """Return the points (G, K, 3): queries that differ in their rank alone see each other."""
        count, size, width = len(seen), self.model.patch_points, seen.shape[-1]
        ranks = torch.arange(size, device=seen.device, dtype=torch.float32) / size
        prompt = sinusoids(direction, width).to(seen.dtype)
        query = (seen + prompt).unsqueeze(1) + sinusoids(ranks.unsqueeze(-1), width).to(seen.dtype)
        hidden = query.flatten(0, 1)
        lengths = Lengths.equal(count, size, hidden.device)
        for block in self.decoder:
            hidden = block(hidden, lengths)
        points: Tensor = self.head(self.norm(hidden))
        return points.unflatten(0, (count, size))


def build(model: PointGPT, store: Store | None) -> PatchPredictor:
    """Return the module; nothing of the store decides its shape."""
    return PatchPredictor(model)
