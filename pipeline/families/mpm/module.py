"""Masked particle modelling: an encoder whose mask tokens stand for hidden constituents.

arXiv:2401.13537, and the published function of github.com/rodem-hep/mpm at c6ba855 (MIT). Axes: P
constituents of all jets of a batch, packed · M that are hidden · F inputs · W width · C outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.mpm.encoder import Dense, Encoder, Normaliser, Shape, Trunk
from pipeline.families.mpm.spec import COLUMNS, MPM
from pipeline.families.omnijet.spec import TOKEN
from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.k_means import Clusters
from pipeline.nn.lengths import Lengths


@dataclass(frozen=True)
class Masked:
    """Rows (M) of the hidden constituents, the output there (M, C) and what is true of them.

    `true` are classes (M), or normalised inputs (M, F).
    """

    rows: Tensor
    predicted: Tensor
    true: Tensor


class Backbone(Collective):
    """Normalised constituents, and the first encoder without its output network."""

    def __init__(self, model: MPM) -> None:
        super().__init__()
        self.normaliser = Normaliser(len(COLUMNS), model.normaliser_points)
        self.trunk = Trunk(len(COLUMNS), first_shape(model))

    @property
    def learns(self) -> bool:
        """Whether the normaliser takes in what comes: in training, unless weights are frozen."""
        return self.training and self.trunk.norm.weight.requires_grad

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Learn the normalisation of the constituents."""
        if self.learns and not self.normaliser.is_frozen:
            self.normaliser.learn(torch.cat([each.points for each in batches]))

    def forward(self, batch: Batch) -> Tensor:
        """Return the states (P, W) of constituents of which none is hidden."""
        if not self.is_stepped:
            self.prepare([batch])
        return self.states(batch.points, batch.lengths)

    def states(self, points: Tensor, lengths: Lengths) -> Tensor:
        """Return the states (P, W) of constituents (P, F)."""
        states: Tensor = self.trunk(self.normaliser(points), lengths)
        return states


class SecondEncoder(nn.Module):
    """A table of positions, added to the output of the first encoder, and an encoder of its own."""

    def __init__(self, model: MPM) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(model.points, model.outputs))
        shape = Shape(
            model.second_width,
            model.second_inner,
            model.second_heads,
            model.second_layers,
            model.dropout,
        )
        self.encoder = Encoder(model.outputs, shape, model.outputs)

    def forward(self, outputs: Tensor, index: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, C) of outputs (P, C) at `index` (P) in their jets."""
        y: Tensor = self.encoder(outputs + self.places[index], lengths)
        return y


class Pretrainer(Collective):
    """Both encoders; what is hidden is drawn for each jet."""

    def __init__(self, model: MPM) -> None:
        super().__init__()
        self.model = model
        self.backbone = Backbone(model)
        self.exit = Dense(model.width, model.inner, model.outputs)
        learnt = model.mask == "learnt"
        self.mask = nn.Parameter(torch.ones(len(COLUMNS)), requires_grad=learnt)
        if model.positions == "inputs":
            places = torch.zeros(model.points, len(COLUMNS))
            self.places = nn.Parameter(places, requires_grad=learnt)
        self.second = SecondEncoder(model) if model.positions == "second_encoder" else None
        self.clusters = None
        if model.task == "clusters":
            self.clusters = Clusters(model.clusters, len(COLUMNS))

    @torch.no_grad()
    def prepare(self, batches: Sequence[Batch]) -> None:
        """Put centres among the constituents of the first batch, and learn the normalisation."""
        if self.training and self.clusters is not None and self.clusters.is_fresh:
            self.clusters.begin(torch.cat([each.points for each in batches]), batches)
        if self.backbone.learns and not self.backbone.normaliser.is_frozen:
            read = torch.cat([self.labelled(each)[0] for each in batches])
            self.backbone.normaliser.learn(read)

    def forward(self, batch: Batch) -> Masked:
        """Return what is predicted of constituents that are drawn to be hidden."""
        if not self.is_stepped:
            self.prepare([batch])
        share = self.model.masked
        return self.predicted(batch, drawn(batch, share), hidden_number(batch.lengths, share))

    def predicted(self, batch: Batch, hidden: Tensor, number: int | None = None) -> Masked:
        """Return what is predicted of the constituents that are `hidden` (P).

        Without their `number` this waits for the device.
        """
        points, labels = self.labelled(batch)
        states = self.backbone.trunk(self.masked(points, hidden, batch), batch.lengths)
        outputs = self.exit(states)
        if self.second is not None:
            outputs = self.second(outputs, batch.index_in_event, batch.lengths)
        number = int(hidden.sum()) if number is None else number
        rows = hidden.nonzero_static(size=number).squeeze(1)
        true = self.backbone.normaliser(batch.points) if labels is None else labels
        return Masked(rows, outputs[rows], true[rows])

    def labelled(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return what is read of the constituents (P, F), and their classes (P) if any."""
        if self.clusters is None:
            return batch.points, batch.per_point[TOKEN] if self.model.task == "tokens" else None
        labels = self.clusters(batch.points)
        read = self.clusters.centres[labels] if self.model.reads_centres else batch.points
        return read, labels

    def masked(self, points: Tensor, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the normalised inputs (P, F) with mask tokens where `hidden` (P).

        A fixed token is normalised like a constituent, so it and the table pass no gradient.
        """
        normaliser = self.backbone.normaliser
        learnt = self.model.mask == "learnt"
        x = normaliser(points) if learnt else points
        x = torch.where(hidden.unsqueeze(1), self.mask, x)
        if self.model.positions == "inputs":
            x = x + self.places[batch.index_in_event]
        return x if learnt else normaliser(x)


def first_shape(model: MPM) -> Shape:
    """Return the shape of the first encoder."""
    return Shape(model.width, model.inner, model.heads, model.layers, model.dropout)


def drawn(batch: Batch, share: float) -> Tensor:
    """Return which constituents (P) are hidden: `share` of each jet, rounded down."""
    return draws.ranks(batch, "mpm.hidden") < (batch.sizes * share).floor()[batch.event]


def hidden_number(lengths: Lengths, share: float) -> int:
    """Return how many constituents `drawn` hides, by the same arithmetic in single precision."""
    return sum(
        events * int(np.floor(np.float32(size) * np.float32(share)))
        for events, size in lengths.runs
    )


def backbone(model: MPM, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given constituents of which none is hidden."""
    made = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        return Hidden([made(batch)])

    return made, hidden_of


def build(model: MPM, store: Store | None) -> Pretrainer:
    """Return the module; nothing of the store decides its shape."""
    return Pretrainer(model)
