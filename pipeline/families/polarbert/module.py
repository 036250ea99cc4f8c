"""PolarBERT: pulses of a neutrino telescope, of which some do not say where they were seen.

Axes: P pulses, packed · B events · T = P + B tokens · W width · M masked pulses · S sensors
· C = S + 1 classes, the sensors counted from 1 (0 is padding, which a packed batch has none of).

The class token stands behind the pulses of its event. To a transformer that is as good as before
them, where PolarBERT has it, for no token knows its position: the time of a pulse is one of its
features. A GRU or Mamba2 reads the pulses by time, whatever their order in the store, and has seen
all when it comes to the class token; there a masked pulse is predicted from earlier pulses alone.

Of a masked pulse the sensor and its position are hidden, and nothing else: PolarBERT's table of
sensors has a row for "masked", and there is none for the other features. Its time and charge are
what the sensor is predicted from, beside the other pulses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.preparation.pulses import CHARGE_SCALE
from pipeline.data.store import Store
from pipeline.families.fm4npp.module import Layer
from pipeline.families.polarbert.sensors import SensorPositions, SensorTable, Single, geometry
from pipeline.families.polarbert.spec import FEATURES, MOST_PULSES, PolarBERT
from pipeline.nn import draws, kernels
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style


@dataclass(frozen=True)
class Output:
    """What the model predicts of a batch.

    masked (M) int64: the rows of `points` whose sensor was hidden; sensors (M, C): the logits of
    each; charge (B): log10 of the event's total charge in p.e.
    """

    masked: Tensor
    sensors: Tensor
    charge: Tensor


class Transformer(nn.Module):
    """Blocks with the norm before attention and feed-forward; every token sees its event."""

    def __init__(self, model: PolarBERT) -> None:
        super().__init__()
        style = Style(
            width=model.width,
            heads=model.heads,
            inner=model.inner,
            activation=model.activation,
            bias_qkv=model.pytorch_layers,
            bias_out=model.pytorch_layers,
            bias_feed_forward=model.activation != "swiglu",
            residual=model.parametrisation.residual_scale(model.layers),
            dropout=model.dropout,
            dropout_inside=model.dropout if model.pytorch_layers else 0.0,
            initial="multihead" if model.pytorch_layers else "linear",
        )
        self.layers = nn.ModuleList(Block(style) for _ in range(model.layers))

    def forward(self, tokens: Batch) -> Tensor:
        """Return the tokens (T, W) after all layers."""
        x = tokens.points
        for layer in self.layers:
            x = layer(x, tokens.lengths)
        return x


class GRULayer(nn.Module):
    """x + dropout(GRU(LayerNorm(x))), along each event."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, tokens: Batch) -> Tensor:
        """Return the tokens (T, W) after the layer; what pads an event stands behind it."""
        padded, real = tokens.padded(self.norm(x))
        return x + self.dropout(self.gru(padded)[0][real])


class Recurrent(nn.Module):
    """Layers of GRUs or of FM4NPP's Mamba2; a token sees itself and earlier ones of its event."""

    def __init__(self, model: PolarBERT) -> None:
        super().__init__()
        if model.backbone == "gru":
            layers: list[nn.Module] = [
                GRULayer(model.width, model.dropout) for _ in range(model.layers)
            ]
        else:
            name, scan = kernels.chosen(model.mamba.family, model.mamba.kernels)
            self.choices = {"kernels": name}
            layers = [Layer(model.mamba, scan) for _ in range(model.layers)]
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens: Batch) -> Tensor:
        """Return the tokens (T, W) after all layers."""
        x = tokens.points
        for layer in self.layers:
            x = layer(x, tokens)
        return x


class Backbone(nn.Module):
    """The pretrained part: pulses and a class token for each event, embedded, through all layers.

    `geometry` (S, 3) is where the sensors hang, m.
    """

    def __init__(self, model: PolarBERT, geometry: Tensor) -> None:
        super().__init__()
        self.sensor: nn.Module = (
            SensorTable(model.sensors, model.sensor_width)
            if model.embedding == "table"
            else SensorPositions(geometry, model.sensor_width)
        )
        self.features = Single(FEATURES, model.width - model.sensor_width)
        self.class_token = nn.Parameter(torch.randn(model.width))
        self.sees_padding = model.sees_padding
        body = Transformer if model.backbone == "transformer" else Recurrent
        self.body = body(model)

    def forward(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pulses (P, W) and the events (B, W); of pulses `hidden` (P) no sensor is seen.

        Nothing of `batch.per_event` is read.
        """
        pulses = torch.cat(
            [self.sensor(batch.per_point["sensor_id"], hidden), self._seen(batch)], 1
        )
        lengths = self._lengths(batch)
        rows = lengths.offsets[batch.event] + self._places(batch)
        ends = lengths.offsets[1:] - 1
        x = (
            self._padding().expand(lengths.tokens, -1)
            if self.sees_padding
            else pulses.new_empty(lengths.tokens, pulses.shape[1])
        )
        x = x.index_copy(0, rows, pulses)
        x = x.index_copy(0, ends, self.class_token.expand(lengths.events, -1))
        x = self.body(Batch(x, lengths.offsets, batch.event_id, known=lengths))
        return x[rows], x[ends]

    def _lengths(self, batch: Batch) -> Lengths:
        """Return how long events are with their class token, and with what fills them if so."""
        if self.sees_padding:
            return Lengths.equal(batch.lengths.events, MOST_PULSES + 1, batch.offsets.device)
        return batch.lengths.longer(1)

    def _places(self, batch: Batch) -> Tensor:
        """Return where each pulse (P) stands among those of its event."""
        if isinstance(self.body, Transformer):
            return batch.index_in_event
        by_time = batch.points[:, 0].argsort(stable=True)
        order = by_time[batch.event[by_time].argsort(stable=True)]
        return torch.empty_like(order).index_copy(0, order, batch.index_in_event)

    def _padding(self) -> Tensor:
        """Return what fills an event (1, W): row 0 of the table, and features that are all zero."""
        device = self.class_token.device
        shown = torch.zeros(1, dtype=torch.bool, device=device)
        before_the_first = torch.full((1,), -1, device=device)
        nothing = torch.zeros(1, FEATURES, device=device)
        return torch.cat([self.sensor(before_the_first, shown), self.features(nothing)], 1)

    def _seen(self, batch: Batch) -> Tensor:
        """Return what is seen of every pulse (P, W - sensor_width)."""
        time, charge = batch.points.unbind(1)
        auxiliary = batch.per_point["auxiliary"].to(time.dtype) - 0.5
        features = torch.stack([time, charge.log10() / CHARGE_SCALE, auxiliary], 1)
        seen: Tensor = self.features(features)
        return seen


class Pretrainer(nn.Module):
    """The backbone with its pretraining heads; which pulses are masked is drawn."""

    def __init__(self, model: PolarBERT, geometry: Tensor) -> None:
        super().__init__()
        self.masked = model.masked
        self.backbone = Backbone(model, geometry)
        self.sensors = nn.Linear(model.width, model.classes)
        self.charge = nn.Linear(model.width, 1)
        self.choices: dict[str, str] = getattr(self.backbone.body, "choices", {})

    def forward(self, batch: Batch) -> Output:
        """Return the predicted sensors of masked pulses, and the predicted charge of each event."""
        lot = draws.uniform(batch, "polarbert.hidden")
        return self.predict(batch, self.hidden(batch, lot))

    def hidden(self, batch: Batch, lot: Tensor) -> Tensor:
        """Return which pulses (P) are masked, by a uniform number of each (P)."""
        return (lot < self.masked) & ~batch.per_point["auxiliary"]

    def predict(self, batch: Batch, hidden: Tensor) -> Output:
        """Return what is predicted where pulses `hidden` (P) are masked."""
        pulses, events = self.backbone(batch, hidden)
        (masked,) = hidden.nonzero(as_tuple=True)
        return Output(masked, self.sensors(pulses[masked]), self.charge(events).squeeze(1))


def backbone(model: PolarBERT, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given pulses and events of which nothing is masked."""
    backbone = Backbone(model, geometry(model, store))

    def hidden_of(batch: Batch) -> Hidden:
        nothing = torch.zeros(batch.lengths.tokens, dtype=torch.bool, device=batch.points.device)
        pulses, events = backbone(batch, nothing)
        return Hidden([pulses], events if model.layers else None)

    return backbone, hidden_of


def build(model: PolarBERT, store: Store | None) -> Pretrainer:
    """Return the module for the telescope of `store`.

    Raises:
        BadInput: The store does not say which pulses are auxiliary and where its sensors hang, or
            is of a telescope of another number of sensors.
    """
    return Pretrainer(model, geometry(model, store))
