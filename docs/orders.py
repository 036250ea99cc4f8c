"""Draw docs/orders.svg: the orders of voxels, `python docs/orders.py`.

A colour is the place of a voxel in the order, from the first (dark) to the last (bright), the mean
over the axis that the view hides. Axes of an array of voxels: E eta, P phi, R r.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipeline.data.preparation.bins import Bins

ORDERS = ("REP", "RPE", "PER", "EPR")
COUNTS = (8, 8, 6)


def places(order: str) -> np.ndarray:
    """Return the place of each voxel in `order` (E, P, R)."""
    first, second, third = (tuple(np.linspace(0, 1, n + 1).tolist()) for n in COUNTS)
    bins = Bins((first, second, third), "docs", "", 0)
    indices = np.moveaxis(np.indices(COUNTS), 0, -1).reshape(-1, 3)
    return bins.groups(((indices + 0.5) / COUNTS).astype(np.float32), order).reshape(COUNTS)


def main() -> None:
    """Draw each order around the beam and along it."""
    mpl.rcParams["svg.hashsalt"] = "orders"  # the same names of parts in each run
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    eta, phi, r = (np.linspace(0, 1, n + 1) for n in COUNTS)
    for column, order in enumerate(ORDERS, 1):
        place = places(order)
        around = figure.add_subplot(2, 4, column, projection="polar")
        around.pcolormesh(2 * np.pi * phi, 0.4 + 0.6 * r, place.mean(0).T, edgecolors="w", lw=0.4)
        around.set(ylim=(0, 1), xticks=[], yticks=[], title=f"{order}: phi and r")
        along = figure.add_subplot(2, 4, 4 + column)
        along.pcolormesh(4 * eta - 2, 30 + 45 * r, place.mean(1).T, edgecolors="w", lw=0.4)
        along.set(xlabel="eta", ylabel="r (cm)", title=f"{order}: eta and r")
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
