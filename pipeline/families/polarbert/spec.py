"""PolarBERT: sensors of masked pulses and the charge of the event."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.fm4npp.spec import FM4NPPMamba2

POSITION = 3  # x, y, z
FEATURES = 3  # time, charge, auxiliary
SPARE = 2  # rows of the table of sensors beside one a sensor: padding, and masked
MOST_PULSES = 127
DIRECTION_INNER = 1024

_PUBLISHED = {"width": 256, "layers": 8, "heads": 8, "inner": 1024, "sensor_width": 128}


class PolarBERT(Family):
    """PolarBERT; `sensor_width` of the `width` channels of a pulse say where it was seen.

    With `embedding` "table" those are a learned row for each of `sensors`, with "positions" a
    linear layer of the sensor's x, y and z. `masked` is the probability that a pulse, if it is not
    auxiliary, is to be predicted. `heads`, `inner` (the channels of the feed-forward), `activation`
    and `pytorch_layers` are the transformer's alone; `gru` and `mamba` read in order of time.
    `pytorch_layers` are those of torch's TransformerEncoderLayer, as the published base has them:
    attention with biases, drawn at first by Xavier's law, and dropout of its weights and of the
    inner channels too. `padding` "seen" fills each event up to 127 pulses with row 0 of the table,
    which all tokens attend to: the published base does so, for it hands on no mask.
    """

    TITLE: ClassVar[str] = "PolarBERT: a transformer, GRU or Mamba2 over pulses"
    HELD_TO: ClassVar[str] = "the outputs of PolarBERT at 4969a6f within 1e-6"
    SOURCE: ClassVar[str] = "github.com/timinar/PolarBERT, NeurIPS 2024 workshop ML4PS"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "positions": {**_PUBLISHED, "embedding": "positions"},
        "flash": {**_PUBLISHED, "embedding": "table"},
        "swiglu": {**_PUBLISHED, "embedding": "table", "activation": "swiglu"},
        "base": {**_PUBLISHED, "embedding": "table", "pytorch_layers": True, "dropout": 0.1},
    }
    EVENT_TOKEN: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("sensors", "charge")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"sensors": 1.0, "charge": 1.0}
    RULES: ClassVar[tuple[str, ...]] = ("mup", "completep")
    WIDENS: ClassVar[tuple[str, ...]] = ("heads", "inner", "sensor_width")
    TOKENS: ClassVar[float] = MOST_PULSES
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"masked", "padding"}

    family: Literal["polarbert"] = "polarbert"
    width: PositiveInt
    layers: PositiveInt = 8
    heads: PositiveInt = 8
    inner: PositiveInt
    sensor_width: PositiveInt
    sensors: PositiveInt = 5160
    embedding: Literal["positions", "table"] = "positions"
    backbone: Literal["transformer", "gru", "mamba"] = "transformer"
    activation: Literal["relu", "swiglu"] = "relu"
    pytorch_layers: bool = False
    padding: Literal["hidden", "seen"] = "hidden"
    masked: float = Field(default=0.25, gt=0, lt=1)
    dropout: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _widths_fit(self) -> "PolarBERT":
        """Check that the channels can be shared as they have to be."""
        if self.sensor_width >= self.width:
            message = (
                f"sensor_width {self.sensor_width} leaves no channel of width {self.width} to time "
                "and charge: give less, such as half the width"
            )
            raise ValueError(message)
        if self.backbone == "transformer" and self.width % self.heads:
            message = f"width {self.width} is no multiple of heads {self.heads}: change either"
            raise ValueError(message)
        if self.backbone == "mamba":
            _ = self.mamba
        if self.sees_padding and (self.backbone, self.embedding) != ("transformer", "table"):
            message = 'padding "seen" is a row of a table to a transformer: give embedding "table"'
            raise ValueError(message)
        return self

    @property
    def sees_padding(self) -> bool:
        """Whether events are filled up to the most pulses, and what fills them is attended to."""
        return self.padding == "seen"

    @property
    def mamba(self) -> FM4NPPMamba2:
        """The model of FM4NPP whose layers the backbone "mamba" has."""
        return FM4NPPMamba2(width=self.width, layers=self.layers, dropout=self.dropout)

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def classes(self) -> int:
        """The classes of a masked pulse: a sensor, counted from 1; 0 is padding, and never."""
        return self.sensors + 1

    def reads(self) -> Reads:
        """Return pulses with their sensors, the events' charges, and where the sensors hang."""
        return Reads(
            columns=("time", "charge"),
            per_point=("auxiliary", "sensor_id"),
            per_event=("total_charge",),
            tables=("geometry",),
            most_points=MOST_PULSES,
        )

    def reads_downstream(self) -> Reads:
        """Return pulses with their sensors, and where the sensors hang."""
        return replace(self.reads(), per_event=())

    def parameters(self) -> Parameters:
        """Return the counts with the heads for sensors and charge."""
        heads = linear(self.width, self.classes) + linear(self.width, 1)
        return Parameters(self._backbone() + heads)

    def with_direction(self) -> Parameters:
        """Return the counts with the head for the direction instead."""
        inner = DIRECTION_INNER
        return Parameters(self._backbone() + linear(self.width, inner) + linear(inner, 3))

    def _backbone(self) -> int:
        """Return the number of parameters without heads."""
        sensor = linear(POSITION, self.sensor_width)
        if self.embedding == "table":
            sensor = (self.sensors + SPARE) * self.sensor_width
        features = linear(FEATURES, self.width - self.sensor_width)
        return sensor + features + self.width + self.layers * self._layer()

    def _layer(self) -> int:
        """Return the number of parameters of one layer."""
        width, inner = self.width, self.inner
        if self.backbone == "mamba":
            return self.mamba.layer()
        norm = 2 * width
        if self.backbone == "gru":
            return norm + 6 * width * width + 6 * width
        attention = 4 * linear(width, width, bias=self.pytorch_layers)
        if self.activation == "swiglu":
            return 2 * norm + attention + 3 * width * inner
        return 2 * norm + attention + linear(width, inner) + linear(inner, width)

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of an event, with its class token, over the `tokens` pulses it has.

        The head for sensors is paid for masked pulses only: here the share `masked` of all.
        """
        length = (MOST_PULSES if self.sees_padding else tokens) + 1
        embedding = FEATURES * (self.width - self.sensor_width)
        if self.embedding == "positions":
            embedding += POSITION * self.sensor_width
        heads = self.masked * self.width * self.classes + self.width / tokens
        layers = self.layers * self._layer_products(length) * length / tokens
        return 6.0 * (layers + heads) + 4.0 * embedding  # nothing is handed back to the inputs

    def _layer_products(self, length: float) -> float:
        """Return the multiply-adds of one layer for one of `length` tokens, forward."""
        width = self.width
        if self.backbone == "mamba":
            return self.mamba.multiplications()
        if self.backbone == "gru":
            return 6.0 * width * width
        feed_forward = (3 if self.activation == "swiglu" else 2) * width * self.inner
        return 4.0 * width * width + feed_forward + 2.0 * length * width
