"""PolarBERT: pulses of a neutrino telescope, of which some do not say where they were seen.

Axes: P pulses, packed · B events · T = P + B tokens · W width · M masked pulses · S sensors
· C = S + 1 classes, the sensors counted from 1 (0 is padding, which a packed batch has none of).

The class token stands behind the pulses of its event, so that a backbone that reads in order of
time has seen them all when it comes to it. There a masked pulse is predicted from earlier pulses
alone; a transformer sees all. No token knows its position in the sequence: the time of a pulse is
one of its features.

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
from pipeline.families.polarbert.spec import FEATURES, PolarBERT
from pipeline.nn import kernels
from pipeline.nn.attention import Lengths
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.transformer import Block, Style

CLASS_TOKEN_STD = 0.02  # as BERT's (arXiv 1810.04805)


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
            bias_qkv=model.attention_biases,
            bias_out=model.attention_biases,
            bias_feed_forward=model.activation != "swiglu",
            residual=model.parametrisation.residual_scale(model.layers),
            dropout=model.dropout,
        )
        self.layers = nn.ModuleList(Block(style) for _ in range(model.layers))

    def forward(self, tokens: Batch) -> Tensor:
        """Return the tokens (T, W) after all layers."""
        lengths, x = Lengths.of(tokens.offsets), tokens.points
        for layer in self.layers:
            x = layer(x, lengths)
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
        self.class_token = nn.Parameter(torch.randn(model.width) * CLASS_TOKEN_STD)
        body = Transformer if model.backbone == "transformer" else Recurrent
        self.body = body(model)

    def forward(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pulses (P, W) and the events (B, W); of pulses `hidden` (P) no sensor is seen.

        Nothing of `batch.per_event` is read.
        """
        pulses = torch.cat(
            [self.sensor(batch.per_point["sensor_id"], hidden), self._seen(batch)], 1
        )
        offsets = batch.offsets + torch.arange(len(batch.offsets), device=batch.offsets.device)
        rows, ends = torch.arange(len(pulses), device=pulses.device) + batch.event, offsets[1:] - 1
        x = pulses.new_empty(len(rows) + len(ends), pulses.shape[1])
        x = x.index_copy(0, rows, pulses)
        x = x.index_copy(0, ends, self.class_token.expand(len(ends), -1))
        x = self.body(Batch(x, offsets, batch.event_id))
        return x[rows], x[ends]

    def _seen(self, batch: Batch) -> Tensor:
        """Return what is seen of every pulse (P, W - sensor_width)."""
        time, charge = batch.points.unbind(1)
        auxiliary = batch.per_point["auxiliary"].to(time.dtype) - 0.5
        features = torch.stack([time, charge.log10() / CHARGE_SCALE, auxiliary], 1)
        seen: Tensor = self.features(features)
        return seen


class Pretrainer(nn.Module):
    """The backbone with its pretraining heads; which pulses are masked is drawn at every call."""

    def __init__(self, model: PolarBERT, geometry: Tensor) -> None:
        super().__init__()
        self.masked = model.masked
        self.backbone = Backbone(model, geometry)
        self.sensors = nn.Linear(model.width, model.classes)
        self.charge = nn.Linear(model.width, 1)
        self.choices: dict[str, str] = getattr(self.backbone.body, "choices", {})

    def forward(self, batch: Batch) -> Output:
        """Return the predicted sensors of masked pulses, and the predicted charge of each event."""
        lot = torch.rand(len(batch.points), device=batch.points.device)
        hidden = (lot < self.masked) & ~batch.per_point["auxiliary"]
        pulses, events = self.backbone(batch, hidden)
        (masked,) = hidden.nonzero(as_tuple=True)
        return Output(masked, self.sensors(pulses[masked]), self.charge(events).squeeze(1))


def backbone(model: PolarBERT, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given pulses and events of which nothing is masked."""
    backbone = Backbone(model, geometry(model, store))

    def hidden_of(batch: Batch) -> Hidden:
        nothing = torch.zeros(len(batch.points), dtype=torch.bool, device=batch.points.device)
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
