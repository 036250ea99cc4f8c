"""Pictures of a store: every feature as a histogram, and one event as its detector saw it.

Axes: P points of one event or of a shard.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.store.opened import Store
from pipeline.data.store.places import ROW
from pipeline.data.store.tables import read_tables

BINS = 60
ACROSS = 4
MOST_BINS = 1000
FEW_VALUES = 40
ENOUGH_EVENTS = 1000
OTHERS = "0.75"


def draw_features(store: Store, split: str, path: Path) -> Path:
    """Draw the features of the first events of `split` as histograms; return `path`."""
    arrays = _some(store, split)
    shown: dict[str, Array] = {"points per event": arrays.pop("sizes")}
    for number, column in enumerate(store.manifest.columns):
        unit = f" ({column.unit})" if column.unit != "1" else ""
        shown[f"{column.name}{unit}"] = arrays["points"][:, number]
    for name in arrays:
        if name not in ("points", "event_id", "neighbours", ROW):
            shown |= _flat(name, arrays[name])
    rows = math.ceil(len(shown) / ACROSS)
    figure = Figure(figsize=(3.2 * ACROSS, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    for axis, (name, values) in zip(axes, shown.items(), strict=False):
        _histogram(axis, name, values)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.suptitle(f"{store.path.name}, {split}: {len(arrays['event_id']):,} events")
    return _saved(figure, path)


def _some(store: Store, split: str) -> dict[str, Array]:
    """Return the arrays of the first shards of `split`, until they hold enough events."""
    found, held = [], 0
    for shard in store.shards(split):
        arrays = shard.read()
        found.append({"sizes": np.diff(arrays.pop("offsets")), **arrays})
        held += shard.record.events
        if held >= ENOUGH_EVENTS:
            break
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _flat(name: str, values: Array) -> dict[str, Array]:
    """Return the columns of an array, or the array, by name."""
    if values.ndim == 1:
        return {name: values}
    return {f"{name}[{number}]": values[:, number] for number in range(values.shape[1])}


def _histogram(axis: Any, name: str, values: Array) -> None:
    """Draw one histogram; counts are logarithmic where a few bins hold nearly everything."""
    values = values.astype(np.float64)
    distinct = np.unique(values)
    bins: Any = BINS
    whole = 0 < len(distinct) <= FEW_VALUES and np.all(distinct == np.round(distinct))
    if whole and np.ptp(distinct) <= MOST_BINS:  # few ids or PDG codes lie far apart
        bins = np.arange(distinct.min() - 0.5, distinct.max() + 1.5)
    counts, _, _ = axis.hist(values, bins=bins, histtype="stepfilled", color="tab:blue", alpha=0.8)
    if counts.max(initial=0) > 50 * max(np.median(counts), 1):
        axis.set_yscale("log")
    axis.set_title(name, fontsize="medium")


def draw_event(store: Store, split: str, event: int, path: Path) -> Path:
    """Draw event `event` of `split`, counted from 0, as its columns allow; return `path`.

    Raises:
        BadInput: There is no such event, or its points have no position.
    """
    arrays = _event(store, split, event)
    columns = [column.name for column in store.manifest.columns]
    values = {name: arrays["points"][:, number] for number, name in enumerate(columns)}
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for needed, draw in VIEWS:
        if needed <= {*values, *arrays, *read_tables(store.path)}:
            draw(figure, values, arrays | read_tables(store.path))
            break
    else:
        message = f"{store.path}: no position to draw among {', '.join(columns)}."
        raise BadInput(message)
    figure.suptitle(f"{store.path.name}, {split}: event {event}, {len(arrays['points']):,} points")
    return _saved(figure, path)


def _event(store: Store, split: str, event: int) -> dict[str, Array]:
    """Return the per-point arrays of one event.

    Raises:
        BadInput: The split has fewer events.
    """
    left = event
    for shard in store.shards(split):
        if 0 <= left < shard.record.events:
            arrays = shard.read()
            rows = slice(arrays["offsets"][left], arrays["offsets"][left + 1])
            kinds = shard.record.arrays
            return {name: each[rows] for name, each in arrays.items() if kinds[name].per == "point"}
        left -= shard.record.events
    message = (
        f"{store.path}: no event {event} in split {split!r}, which holds {store.events(split)}."
    )
    raise BadInput(message)


def _tracks(figure: Figure, values: dict[str, Array], arrays: dict[str, Array]) -> None:
    """Draw hits across and along the beam, one colour a track."""
    x, y = values["r"] * np.cos(values["phi"]), values["r"] * np.sin(values["phi"])
    z = values["r"] * np.sinh(values["eta"])
    track = arrays.get("track_id", np.ones(len(x), np.int64))
    across, along = figure.subplots(1, 2)
    colour = np.unique(track, return_inverse=True)[1] % 20
    for axis, horizontal, vertical in ((across, x, y), (along, z, values["r"])):
        axis.scatter(horizontal[track == 0], vertical[track == 0], s=3, color=OTHERS)
        known = track != 0
        axis.scatter(horizontal[known], vertical[known], s=5, c=colour[known], cmap="gist_rainbow")
    across.set(xlabel="x [cm]", ylabel="y [cm]", aspect="equal")
    along.set(xlabel="z [cm]", ylabel="r [cm]")


def _jet(figure: Figure, values: dict[str, Array], arrays: dict[str, Array]) -> None:
    """Draw constituents around the jet's axis, of an area that tells their pT."""
    axis = figure.subplots()
    pt = np.hypot(values["px"], values["py"]) if "px" in values else np.exp(values["log_pt"])
    charge = arrays.get("charge", np.zeros(len(pt)))
    drawn = axis.scatter(
        values["deta"], values["dphi"], s=600 * pt / pt.max(), c=charge, cmap="coolwarm", alpha=0.6
    )
    figure.colorbar(drawn, label="charge")
    axis.set(xlabel="Δη", ylabel="Δφ", aspect="equal")


def _pulses(figure: Figure, values: dict[str, Array], arrays: dict[str, Array]) -> None:
    """Draw light sensors that saw pulses, coloured by time, of an area that tells the charge."""
    position = arrays["geometry"][arrays["sensor_id"]]
    _light(figure, position, values)


def _photons(figure: Figure, values: dict[str, Array], arrays: dict[str, Array]) -> None:
    del arrays
    _light(figure, np.column_stack([values[name] for name in ("x", "y", "z")]), values)


def _light(figure: Figure, position: Array, values: dict[str, Array]) -> None:
    axis: Any = figure.add_subplot(projection="3d")
    size = 8 * np.sqrt(np.clip(values["charge"], 0.1, None))
    drawn = axis.scatter(*position.T, c=values["time"], s=size, cmap="rainbow_r")
    figure.colorbar(drawn, label="time [ns]", shrink=0.7)
    axis.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")


def _hits(figure: Figure, values: dict[str, Array], arrays: dict[str, Array]) -> None:
    """Draw hits of a detector with x, y, z, one colour a track."""
    radius = np.hypot(values["x"], values["y"])
    cylindrical = {
        "r": radius,
        "phi": np.arctan2(values["y"], values["x"]),
        "eta": np.arcsinh(values["z"] / np.maximum(radius, 1e-9)),
    }
    _tracks(figure, cylindrical, arrays)


Draw = Callable[[Figure, dict[str, Array], dict[str, Array]], None]
VIEWS: tuple[tuple[frozenset[str], Draw], ...] = (
    (frozenset({"eta", "phi", "r"}), _tracks),
    (frozenset({"deta", "dphi"}), _jet),
    (frozenset({"sensor_id", "geometry", "time", "charge"}), _pulses),
    (frozenset({"x", "y", "z", "time", "charge"}), _photons),
    (frozenset({"x", "y", "z"}), _hits),
)


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path)
    return path
