"""FM4NPP's preparation of events held to the authors' own: columns, bins, orders, neighbours."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.events import CARTESIAN, Events, offsets_of
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.bins import Bins, fit_bins
from pipeline.data.preparation.coordinates import cylindrical
from pipeline.data.preparation.curves import hilbert, zorder
from pipeline.data.preparation.serialise import Preparation, normal, serialise, usable
from tests.golden.cases import Case, Row, compared

VOXELS = ("EPR", "REP", "RPE", "PER")
CURVES = {"zorder": zorder, "hilbert": hilbert}
LENGTHS = (1, 3200, 3201, 2)
EXACT = 0.0


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return "fit_raw" in case.about.get("arrays", {})


def events_of(points: NDArray[Any], sizes: NDArray[Any], **per_point: NDArray[Any]) -> Events:
    """Return the events of raw points (P, 4), each point with its place in its event."""
    offsets = offsets_of(sizes)
    place = np.arange(len(points)) - np.repeat(offsets[:-1], sizes)
    return Events(
        source="golden",
        columns=CARTESIAN,
        points=points,
        offsets=offsets,
        event_id=np.arange(len(sizes)),
        per_point={"place": place, **per_point},
    )


def bins_of(case: Case) -> Bins:
    """Return the bins fitted on the case's sample, as the authors normalise it.

    Edges hang on equal radii: a last digit of a radius, which the authors round elsewhere than we
    do, decides whether it equals the least one, which is not counted.
    """
    given, radius = case.configuration, SPHENIX.columns[3]
    first, second, third = given["n_bins"]
    return fit_bins(
        case.arrays["fit_normalised"][:, 1:],
        (first, second, third),
        limits=tuple((each - radius.offset) / radius.scale for each in given["radius_split_cm"]),
        source="golden",
        source_sha256="",
    )


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    arrays, bins, count = case.arrays, bins_of(case), case.configuration["k"]
    events = events_of(arrays["raw"], arrays["sizes"], track=arrays["track"])
    yield compared(case, "polar", cylindrical(events).points[:, 1:])
    fitted = SPHENIX.transform(events_of(arrays["fit_raw"], np.array([len(arrays["fit_raw"])])))
    yield compared(case, "fit_normalised", normalised(fitted.points, SPHENIX.columns))
    for name, edges in zip(("eta", "phi", "radius"), bins.edges, strict=True):
        yield compared(case, f"edges_{name}", edges, tolerance=case.about["tolerance"]["edges"])
    for order in (*VOXELS, *CURVES):
        settings = Preparation(SPHENIX, order, count, bins=bins if order in VOXELS else None)
        found, _ = serialise(events, settings)
        place = found.per_point["place"]
        yield compared(case, f"permutation_{order}", place, tolerance=EXACT)
        if order in VOXELS:
            groups = bins.groups(normal(found, SPHENIX), order)
            yield compared(case, f"group_{order}", groups, tolerance=EXACT)
    yield from _in_order(case, "REP", bins, events)
    yield from _in_order(case, "none", None, events)
    yield _kept(case)


def _in_order(case: Case, order: Any, bins: Bins | None, events: Events) -> Iterator[Row]:
    """Yield points, neighbours, tracks and voxels or codes of one order."""
    settings = Preparation(SPHENIX, order, case.configuration["k"], bins=bins)
    found, nearest = serialise(events, settings)
    position = normal(found, SPHENIX)
    targets = position[(nearest + np.repeat(found.offsets[:-1], found.sizes)[:, None]).clip(0)]
    targets[nearest < 0] = case.configuration["padding"]
    points, rows = normalised(found.points, SPHENIX.columns), targets.reshape(len(targets), -1)
    if bins is None:
        yield compared(case, "permutation_r", found.per_point["place"], tolerance=EXACT)
        yield compared(case, "normalised_in_r_order", points)
        yield compared(case, "neighbours_in_r_order", rows)
        for name, curve in CURVES.items():
            yield compared(case, f"code_{name}", curve(position), tolerance=EXACT)
        return
    yield compared(case, f"points_{order}", points)
    yield compared(case, f"neighbours_{order}", rows)
    yield compared(case, f"track_{order}", found.per_point["track"], tolerance=EXACT)
    inside = [len(edges) - 1 for edges in bins.edges]
    voxels = case.arrays[f"voxel_{order}"].clip(1, inside) - 1  # outside: the nearest voxel
    wrong = float(np.abs(bins.indices(position) - voxels).max())
    yield Row(f"voxel_{order}", wrong, EXACT)


def _kept(case: Case) -> Row:
    """Return how the events that are kept compare, of the lengths 1, 3200, 3201 and 2."""
    sizes = np.array(LENGTHS)
    events = events_of(np.ones((sizes.sum(), 4), np.float32), sizes)
    kept, _ = usable(events, Preparation(SPHENIX, "none", max_points=SPHENIX.max_points))
    name = "kept_of_lengths_1_3200_3201_2"
    return Row(name, float(kept.event_id.tolist() != case.about[name]), EXACT)
