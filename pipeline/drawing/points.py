"""The true class or momentum of each point beside the predicted one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.chamber import chamber
from pipeline.drawing.event import Event
from pipeline.drawing.figure import MUTED, colours, style

MARKERS = (".", "o", "^", "s", "D", "v")
TRUTHS = ("true_pid", "true_noise")


def draw_classes(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the true classes beside the predicted ones, the first in grey; None if unknown."""
    truth = next((name for name in TRUTHS if event.has(name)), None)
    if event.position is None or truth is None or not event.has("predicted_probabilities"):
        return None
    predicted = event.arrays["predicted_probabilities"].argmax(1)
    correct = float((predicted == event.arrays[truth]).mean()) if len(predicted) else 0.0
    named = dict(enumerate(names)) or {int(each): str(each) for each in np.unique(predicted)}
    with style():
        figure, sides = chamber(["true", f"predicted: {100 * correct:.0f} % correct"])
        for side, ids in zip(sides, (event.arrays[truth], predicted), strict=True):
            for axes, across, up in side.views(event.position):
                for marker in _markers(named):
                    mine = ids == marker.pop("class")
                    axes.plot(across[mine], up[mine], **marker)
        handles, titles = sides[0].across.get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside lower center", ncols=len(named))
    return figure


def _markers(names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return how the points of each class are drawn."""
    shades = [MUTED, *colours(len(names) - 1)]
    pixels = {"linestyle": "none", "rasterized": True, "markersize": 3.7}
    return [
        {"class": index, "label": name, "color": shade, "marker": MARKERS[n % len(MARKERS)]}
        | pixels
        for n, ((index, name), shade) in enumerate(zip(names.items(), shades, strict=True))
    ]


def draw_momenta(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the true pT of each point beside the predicted one, both as a colour; None if unknown.

    Points of no particle of known momentum are grey.
    """
    if event.position is None or not event.has("true_pt_gev", "predicted_log_pt"):
        return None
    true = event.arrays["true_pt_gev"].astype(np.float64)
    known = true > 0
    if not known.any():
        return None
    log_pt = np.log(true, where=known, out=np.zeros_like(true))
    norm = Normalize(*np.percentile(np.exp(log_pt[known]), (0, 95)))
    with style():
        figure, sides = chamber(["true", "predicted"])
        for side, values in zip(sides, (log_pt, event.arrays["predicted_log_pt"]), strict=True):
            for axes, across, up in side.views(event.position):
                axes.scatter(across[~known], up[~known], s=4, color=MUTED, rasterized=True)
                shade = _shades(values[known], norm)
                axes.scatter(across[known], up[known], s=9, c=shade, rasterized=True)
        bar = ScalarMappable(norm, "viridis")
        panels = [each for side in sides for each in (side.across, side.along)]
        figure.colorbar(bar, ax=panels, label="pT [GeV]", extend="max", shrink=0.6)
    return figure


def _shades(log_pt: NDArray[Any], norm: Normalize) -> NDArray[Any]:
    """Return the colours (P, 4) of momenta."""
    return np.asarray(colormaps["viridis"](norm(np.exp(log_pt))))
