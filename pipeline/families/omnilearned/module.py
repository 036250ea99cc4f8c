"""OmniLearned's PET v2: a body, and heads for the class of an event and for each of its points.

The columns that flow and their velocities are in their own units. Bhimji et al., arXiv:2510.24066,
as ViniciusMikuni/OmniLearned at 922355d computes it. Axes: P points, packed · B events · T tokens
· F columns that flow · W width · C classes · K classes of points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat

import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.flow import LABEL
from pipeline.families.omnilearned.body import Backbone, Seen
from pipeline.families.omnilearned.comparison import Compared, Others, compared, longest, rows_of
from pipeline.families.omnilearned.pet import Block, Layout, Perceptron, linear
from pipeline.families.omnilearned.spec import CONTRASTIVE, OmniLearned
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective, gathered
from pipeline.nn.flow import NOISE, Flow, Noise, Noised, class_counts, labels, noised
from pipeline.nn.hidden import Hidden, HiddenOf


@dataclass(frozen=True)
class Output:
    """Predictions for a batch: logits (B, C) of events, the flow, and logits (B, C) in noise.

    Further logits (P, K) of points, and how near events are in noise to what they are without.
    None where the mode or its objectives have no such thing. `class_counts` (C): how many events of
    the global batch are of each class, if they are more than those at hand.
    """

    logits: Tensor | None = None
    flow: Flow | None = None
    in_noise: Tensor | None = None
    of_points: Tensor | None = None
    compared: Compared | None = None
    class_counts: Tensor | None = None


class Generator(nn.Module):
    """Numbers of each point, after it has seen the event and its label, if there are several.

    They are velocities, or in mode "ftag" logits.
    """

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.number, width = model.classes, model.width
        if model.labelled:
            self.label = nn.Embedding(model.classes, width)
            self.of_label = Perceptron(width, model.ratio * width, width, norm=False)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.head_layers))
        self.together = Perceptron(width, model.ratio * width, width, norm=False)
        self.last = linear(width, model.of_point, bias=True)

    def forward(self, seen: Seen, batch: Batch) -> Tensor:
        """Return velocities (P, F) or logits (P, K).

        Raises:
            BadInput: A label is none of the classes.
        """
        before = [seen.tokens, seen.others]
        if self.number > 1:
            label = self.of_label(self.label(labels(batch, self.number)))
            before.insert(0, label.unsqueeze(1))
        first = torch.cat(before, 1)
        layout = Layout.of(batch, first.shape[1])
        x = layout.packed(first, seen.points)
        for block in self.blocks:
            x = block(x, layout.lengths)
        found: Tensor = self.last(self.together(x[layout.points]))
        return found


class Pretrainer(Collective):
    """The backbone with the heads of its mode; time and noise are drawn for each event."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.model = model
        self.backbone = Backbone(model)
        self.noise = Noise(model.moments)
        if model.mode != "generator":
            self.classes = linear(model.event_width, model.classes, bias=True)
        if model.mode != "classifier":
            self.generator = Generator(model)
        self._class_counts: Tensor | None = None
        self._others: Others | None = None  # of a batch that is taken forward in parts
        self._longest = 0

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Count the classes of all events of a batch, by which each is weighted.

        Where some process takes a batch forward in parts that are compared with all of it, take all
        forward here, without gradients.
        """
        if self.model.mode != "generator":
            counts = self.classes.weight.new_zeros(self.model.classes, dtype=torch.int64)
            for batch in (each for each in batches if LABEL in each.per_event):
                counts = counts + class_counts(batch, self.model.classes)
            self._class_counts = self.collectives.all_reduce_sum(counts)
        self._others, self._longest = None, 0
        if self.training and CONTRASTIVE in self.model.objective_weights:
            here = torch.tensor([len(batches)], device=self.classes.weight.device)
            parts = int(self.collectives.all_gather(here).max())
            if parts > 1:
                self._longest = longest(batches, self.collectives)
                self._others = Others(self._rows(batches, parts), self.collectives)

    @torch.no_grad()
    def _rows(self, batches: Sequence[Batch], parts: int) -> Tensor:
        """Return what tells the events of micro-batches from others, see `rows_of`.

        A process that has fewer than `parts` goes forward once more, for so do those that it shares
        parameters with.
        """
        found = []
        for batch in islice(chain(batches, repeat(batches[0])), parts):
            noise = self._noised(batch)
            clean, seen = self.backbone(batch), self.backbone(batch, noise)
            found.append(rows_of(clean, seen, noise.time, batch, self._longest))
        return torch.cat(found[: len(batches)])

    def _noised(self, batch: Batch) -> Noised:
        """Return the points of `batch` in the noise of this pass."""
        points = batch.points[:, : len(self.model.columns)]
        return noised(points, self.noise.drawn(batch, NOISE), batch)

    def forward(self, batch: Batch) -> Output:
        """Return the predictions for the events as they are, and in noise."""
        if not self.is_stepped:
            self.prepare([batch])
        clean = logits = None
        if self.model.mode != "generator":
            clean = self.backbone(batch)
            logits = self.logits(clean, batch)
        if not self.model.noisy:
            points = self.generator(clean, batch) if self.model.mode == "ftag" else None
            return Output(logits, of_points=points, class_counts=self._class_counts)
        return self.in_noise(batch, self._noised(batch), clean, logits)

    def logits(self, seen: Seen, batch: Batch) -> Tensor:
        """Return logits (B, C) of what the body made of events."""
        logits: Tensor = self.classes(self.backbone.summary(seen, batch))
        return logits

    def in_noise(
        self, batch: Batch, noise: Noised, clean: Seen | None, logits: Tensor | None
    ) -> Output:
        """Return the predictions in `noise`, beside those for the events as they are, if any."""
        seen = self.backbone(batch, noise)
        flow = Flow(self.generator(seen, batch), noise.velocity, noise.time)
        if clean is None:
            return Output(flow=flow)
        near = None
        if CONTRASTIVE in self.model.objective_weights:
            near = self._compared(clean, seen, noise, batch)
        in_noise, counts = self.logits(seen, batch), self._class_counts
        return Output(logits, flow, in_noise, compared=near, class_counts=counts)

    def _compared(self, clean: Seen, seen: Seen, noise: Noised, batch: Batch) -> Compared:
        """Return the events at hand among all of the batch, or alone if they do not count."""
        points = self._longest or longest([batch], self.collectives)
        rows = rows_of(clean, seen, noise.time, batch, points)
        if self._others is not None:
            return self._others.compared(rows) if self.counts else compared(rows, rows.detach(), 0)
        every, first = gathered(rows if self.counts else rows[:0], self.collectives)
        return compared(rows, every, first) if self.counts else compared(rows, rows.detach(), 0)

    def velocity(self, batch: Batch, points: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (P, F) of `points` (P, F) in noise, at `time` (B).

        Nothing is known of a point but the columns that flow, for it is to be generated.
        """
        seen = self.backbone(batch, Noised(points, time, torch.empty(0)), known=False)
        velocity: Tensor = self.generator(seen, batch).float()
        return velocity


def backbone(model: OmniLearned, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given points, and events by what tells classes.

    Where there are no classes, events by all their tokens. A head sees no noise, so the layers of
    the time are not trained.
    """
    backbone = Backbone(model)
    if model.layers and model.noisy:
        backbone.time.requires_grad_(False)

    def hidden_of(batch: Batch) -> Hidden:
        seen = backbone(batch)
        if not model.layers:
            return Hidden([seen.points])
        told = model.mode != "generator"
        events = backbone.summary(seen, batch) if told else seen.tokens.flatten(1)
        return Hidden([seen.points], events)

    return backbone, hidden_of


def build(model: OmniLearned, store: Store | None) -> Pretrainer:
    """Return the module; whoever reads a store checks its columns against `reads`."""
    return Pretrainer(model)
