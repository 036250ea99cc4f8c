"""An event that can be turned round on the page: points in space, and arrows through them.

The page's own script draws it; without one, the pictures beside it show the same event flat.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.drawing.event import Floats

MOST_POINTS = 4000  # of a scene: what a phone turns smoothly


@dataclass(frozen=True)
class View:
    """The same points once more: a title, and the colour of each point (P)."""

    title: str
    colours: Sequence[str]


@dataclass(frozen=True)
class Arrow:
    """A direction (3), and what it is."""

    title: str
    colour: str
    direction: Floats


@dataclass(frozen=True)
class Scene:
    """Positions (P, 3) in `unit`, seen in one or two views that rotate together.

    `axis` is the number of the coordinate along which a thin line is drawn: the beam, the vertical.
    Arrows go through the point `hub` (3), the middle of what is drawn if None.
    """

    position: Floats
    unit: str
    views: Sequence[View]
    arrows: Sequence[Arrow] = ()
    axis: int = 2
    hub: Floats | None = None

    def json(self) -> str:
        """Return the scene as the page's script takes it, in whole units; the first points only."""
        palette = sorted({colour for view in self.views for colour in view.colours[:MOST_POINTS]})
        return json.dumps(
            {
                "points": np.round(self.position[:MOST_POINTS]).astype(int).tolist(),
                "unit": self.unit,
                "axis": self.axis,
                "hub": None if self.hub is None else np.round(self.hub, 1).tolist(),
                "palette": palette,
                "views": [
                    {
                        "title": view.title,
                        "colours": [palette.index(each) for each in view.colours[:MOST_POINTS]],
                    }
                    for view in self.views
                ],
                "arrows": [
                    {
                        "title": each.title,
                        "colour": each.colour,
                        "direction": np.round(each.direction, 4).tolist(),
                    }
                    for each in self.arrows
                ],
            },
            separators=(",", ":"),
        )
