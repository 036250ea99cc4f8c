"""Sensors of a neutrino telescope, embedded by their number or by where they hang.

Axes: P pulses, packed · S sensors.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.data.store.tables import read_tables
from pipeline.families.polarbert.spec import POSITION, SPARE, PolarBERT

POSITION_SCALE_M = 100.0  # about the distance of strings, 125 m (JINST 12 P03012, section 1)
CENTIMETRES = 100


class Single(nn.Linear):
    """A linear layer in single precision: half would round positions to metres, times to 10 ns."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, outputs) of x (…, inputs), in the precision of the weights."""
        y = functional.linear(x.float(), self.weight.float(), self.bias.float())
        return y.to(self.weight.dtype)


class SensorTable(nn.Module):
    """A learned row for each sensor, counted from 1, and the last for "masked"."""

    def __init__(self, sensors: int, width: int) -> None:
        super().__init__()
        self.masked = sensors + 1
        self.table = nn.Embedding(sensors + SPARE, width)

    def forward(self, sensor: Tensor, hidden: Tensor) -> Tensor:
        """Return (P, width) of `sensor` (P), counted from 0; `hidden` (P) says which are masked."""
        found: Tensor = self.table((sensor + 1).masked_fill(hidden, self.masked))
        return found


class SensorPositions(nn.Module):
    """A linear layer of a sensor's position; zeros, which no position gives, mean "masked".

    The positions belong to the store: they are no weights, and not kept with them. They are held
    in whole centimetres, which no change of precision rounds.
    """

    def __init__(self, geometry: Tensor, width: int) -> None:
        super().__init__()
        self.linear = Single(POSITION, width)
        self.position_cm: Tensor
        whole = (geometry * CENTIMETRES).round().to(torch.int32)
        self.register_buffer("position_cm", whole, persistent=False)

    def forward(self, sensor: Tensor, hidden: Tensor) -> Tensor:
        """Return (P, width) of `sensor` (P), counted from 0; `hidden` (P) says which are masked."""
        position = self.position_cm[sensor.masked_fill(hidden, 0)] / CENTIMETRES
        found = self.linear(position / POSITION_SCALE_M)
        return found.masked_fill(hidden.unsqueeze(1), 0.0)


def geometry(model: PolarBERT, store: Store | None) -> Tensor:
    """Return the positions (S, 3) of the sensors of `store`, m; zeros without one.

    Raises:
        BadInput: The store does not say which pulses are auxiliary and where its sensors hang, or
            is of a telescope of another number of sensors.
    """
    if store is None:
        return torch.zeros(model.sensors, POSITION)
    reads = model.reads()
    held = {name for shard in store.manifest.shards for name in shard.arrays}
    tables = read_tables(store.path)
    missing = [name for name in (*reads.per_point, *reads.per_event) if name not in held]
    missing += [f"table {name}" for name in reads.tables if name not in tables]
    if missing:
        message = (
            f"{store.path}: no {', '.join(missing)}; PolarBERT reads pulses with their sensors as "
            "experiment icecube stages them. Give it such a dataset, or another model."
        )
        raise BadInput(message)
    positions = torch.from_numpy(tables["geometry"]).float()
    if len(positions) != model.sensors:
        message = (
            f"{store.path}: its telescope has {len(positions)} sensors, the model {model.sensors}. "
            f"Give the model sensors = {len(positions)}, or another dataset."
        )
        raise BadInput(message)
    return positions
