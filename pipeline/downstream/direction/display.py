"""A neutrino: the sensors that saw light, and where it came from, in truth and as predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.data.preparation.directions import unit_vectors
from pipeline.drawing.event import Event, Floats
from pipeline.drawing.figure import INK, MUTED, PALETTE, style
from pipeline.drawing.scene import Arrow, Scene, View
from pipeline.evaluation.directions import opening_angles

LARGEST, SMALLEST = 160.0, 8.0  # points², of the sensor that saw most light, and the least drawn
MANY = 500  # sensors, from which each is a smaller dot
TRUE, PREDICTED = INK, PALETTE[5]
CAPTION = (
    "Sensors that saw light; areas are in proportion to the charge, colours show the time of the "
    "first light. Arrows: where the neutrino went, through the middle of the light. Grey: all "
    "sensors."
)


@dataclass(frozen=True)
class Light:
    """Light sensor by sensor: position (S, 3) in m, first time (S) in ns, charge (S)."""

    position: Floats
    time: Floats
    charge: Floats


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the light in x–y and x–z with both directions; None where something is unknown.

    Arrows point where the neutrino went, so away from where it came from.
    """
    if not event.has("true_azimuth", "true_zenith", "predicted_direction"):
        return None
    light = _light(event)
    if light is None:
        return None
    true = unit_vectors(event.arrays["true_azimuth"], event.arrays["true_zenith"])
    predicted = event.arrays["predicted_direction"].astype(np.float64)
    with style():
        figure = Figure(figsize=(10.5, 5.2), layout="constrained")
        panels = figure.subplots(1, 2)
        geometry = event.tables.get("geometry", light.position)
        for axes, (across, up) in zip(panels, ((0, 1), (0, 2)), strict=True):
            _draw_detector(axes, geometry[:, across], geometry[:, up])
            drawn = _draw_light(axes, light, across, up)
            for came_from, colour in ((true, TRUE), (predicted, PREDICTED)):
                _arrow(axes, light, -came_from, (across, up), colour)
            axes.set(xlabel="x [m]", ylabel=f"{'xyz'[up]} [m]", aspect="equal")
        figure.colorbar(drawn, ax=panels, label="first light [ns]", shrink=0.8)
        apart = np.degrees(opening_angles(true[None], predicted[None]))[0]
        handles = [
            Line2D([], [], color=TRUE, label="true direction"),
            Line2D([], [], color=PREDICTED, label=f"predicted direction, {apart:.1f}° apart"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def scene(event: Event) -> Scene | None:
    """Return the light in space, coloured by time, with both directions; None if not known."""
    light = _light(event) if event.has("true_azimuth", "predicted_direction") else None
    if light is None:
        return None
    true = unit_vectors(event.arrays["true_azimuth"], event.arrays["true_zenith"])
    predicted = event.arrays["predicted_direction"].astype(np.float64)
    shade = colormaps["viridis"](light.time / max(light.time.max(), 1.0))
    colours = [to_hex(each) for each in np.round(shade, 1)]
    arrows = [
        Arrow("black: true", TRUE, _up(-true)),
        Arrow("red: predicted", PREDICTED, _up(-predicted)),
    ]
    middle = np.average(light.position, axis=0, weights=np.maximum(light.charge, 1e-9))
    view = View("first light, late is yellow", colours)
    return Scene(_up(light.position), "m", [view], arrows, axis=1, hub=_up(middle))


def _up(vectors: Floats) -> Floats:
    """Return vectors (..., 3) with the vertical second, as the page holds it upright."""
    return vectors[..., [0, 2, 1]]


def _light(event: Event) -> Light | None:
    """Return what was seen, sensor by sensor; None where it is not known when or where."""
    positions = _positions(event)
    if "time" not in event.columns or positions is None or not len(positions):
        return None
    time = event.columns["time"]
    charge = event.columns.get("charge", np.ones(len(time)))
    position, sensor = np.unique(positions, axis=0, return_inverse=True)
    first = np.full(len(position), np.inf)
    np.minimum.at(first, sensor.ravel(), time - time.min())
    return Light(
        position, first, np.bincount(sensor.ravel(), np.maximum(charge, 0.0)).astype(float)
    )


def _positions(event: Event) -> Floats | None:
    """Return where the sensor of each pulse is (P, 3), None if that is not known."""
    if {"x", "y", "z"} <= event.columns.keys():
        return np.stack([event.columns[name] for name in "xyz"], axis=1)
    if "geometry" not in event.tables or not event.has("true_sensor_id"):
        return None
    positions: Floats = event.tables["geometry"].astype(np.float64)[event.arrays["true_sensor_id"]]
    return positions


def _draw_detector(axes: Axes, across: Floats, up: Floats) -> None:
    """Draw all sensors, faintly."""
    pixels: dict[str, Any] = {"linestyle": "none", "marker": ".", "rasterized": True}
    distinct = np.unique(np.round(np.stack([across, up]), 1), axis=1)
    size = 2.5 if distinct.shape[1] < MANY else 1.2
    axes.plot(*distinct, color=MUTED, alpha=0.4, zorder=0, markersize=size, **pixels)


def _draw_light(axes: Axes, light: Light, across: int, up: int) -> PathCollection:
    """Draw the sensors that saw light: the colour shows when, the area how much."""
    size = SMALLEST + LARGEST * light.charge / max(light.charge.max(), 1e-9)
    order = np.argsort(-light.time)
    return axes.scatter(
        light.position[order, across],
        light.position[order, up],
        s=size[order],
        c=light.time[order],
        cmap="viridis",
        alpha=0.85,
        linewidth=0,
    )


def _arrow(axes: Axes, light: Light, way: Floats, plane: tuple[int, int], colour: str) -> None:
    """Draw an arrow along `way` (3) through the middle of the light, as long as that reaches."""
    weight = np.maximum(light.charge, 1e-9)
    middle = np.average(light.position, axis=0, weights=weight)
    reach = max(float(np.linalg.norm(light.position - middle, axis=1).max()), 100.0)
    ends = [(middle + sign * reach * way)[list(plane)] for sign in (-1, 1)]
    tail, head = ((float(x), float(y)) for x, y in ends)
    axes.annotate(
        "",
        xy=head,
        xytext=tail,
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0},
    )
    axes.update_datalim(ends)  # annotations do not widen the axes
    axes.autoscale_view()
