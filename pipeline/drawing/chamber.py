"""The four views of an event in a chamber: truth and prediction, across and along the beam."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.drawing.event import Floats

CAPTION = "Truth left, prediction right; above across the beam, below along it. "


@dataclass(frozen=True)
class Side:
    """The two views of the truth, or of the prediction."""

    across: Axes
    along: Axes

    def views(self, position: Floats) -> Iterator[tuple[Axes, Floats, Floats]]:
        """Yield the axes and the two coordinates of positions (P, 3): x, y, and z, r."""
        x, y, z = position.T
        yield self.across, x, y
        yield self.along, z, np.hypot(x, y)


def chamber(titles: Sequence[str]) -> tuple[Figure, list[Side]]:
    """Return a figure with truth on one side and prediction on the other, under their titles."""
    figure = Figure(figsize=(10.5, 9.2), layout="constrained")
    panels = figure.subplots(2, 2, height_ratios=(5, 3), sharex="row", sharey="row")
    for column, title in enumerate(titles):
        panels[0, column].set(xlabel="x [cm]", aspect="equal", title=title)
        panels[1, column].set(xlabel="z [cm]")
    panels[0, 0].set(ylabel="y [cm]")
    panels[1, 0].set(ylabel="r [cm]")
    for axes in panels.flat:
        axes.grid()
    return figure, [Side(*panels[:, column]) for column in range(2)]
