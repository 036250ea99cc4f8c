"""Exa.TrkX's scores of found tracks held to the authors' own: pairs, counts and rates."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from pipeline.evaluation.published_matching import LabelMatches, LabelRule, label_matching
from tests.golden.cases import Case, Row, compared

KINDS = ("", "clean_")  # of events: as they are, and those without noise or hits in two tracks
FIRST_EVENT = 1000
PRINTED = {
    "Number of reconstructed particles": "reconstructed",
    "Number of particles": "particles",
    "Number of matched tracks": "matched",
    "Number of tracks": "tracks",
    "Number of duplicate reconstructed particles": "duplicates",
    "Efficiency": "efficiency_of_all",
    "Fake rate": "fake_rate",
    "Duplication rate": "duplicate_rate",
}


def knows(case: Case) -> bool:
    """Return whether `case` is of these scores."""
    return "get_matching_df" in case.about.get("peer_class", "")


def held(case: Case) -> Iterator[Row]:
    """Yield how the pairs, counts and rates of each style compare, and what was printed."""
    for kind in KINDS:
        for style, fraction in case.configuration["styles"]:
            yield from _style(case, kind, style, fraction)


def _style(case: Case, kind: str, style: str, fraction: float) -> Iterator[Row]:
    name, tolerance = f"{style}_{fraction}", case.about["tolerance"]
    found = matched(case, kind, style, fraction)
    table, counts, rates = (f"out_{kind}{each}_{name}" for each in ("table", "counts", "rates"))
    if table in case.arrays:
        yield compared(case, table, rows(found), tolerance=tolerance["rates"])
    values = [getattr(found, each) for each in PRINTED.values()]
    if counts in case.arrays:
        yield compared(case, counts, values[:5], tolerance=tolerance["counts"])
        yield compared(case, rates, values[5:], tolerance=tolerance["rates"])
    printed = case.about.get("printed", {}).get(name)
    if printed and not kind:
        theirs = [printed[each] for each in PRINTED]
        error = np.abs(np.round(values, 3) - theirs).max()
        yield Row(f"printed_{name}", float(error), tolerance["rates"])


def matched(case: Case, kind: str, style: str, fraction: float) -> LabelMatches:
    """Return what ours matches in the events of the case."""
    given = case.configuration
    events = range(_events(case, kind))
    columns = {
        name: np.concatenate([case.arrays[f"in_{kind}{name}_id{each}"] for each in events])
        for name in ("hit", "particle", "track")
    }
    sizes = [len(case.arrays[f"in_{kind}hit_id{each}"]) for each in events]
    rule = LabelRule(
        style=style,
        fraction=fraction,
        min_particle_points=given["min_particle_length"],
        min_track_points=given["min_track_length"],
    )
    return label_matching(np.repeat(np.arange(len(sizes)), sizes), **columns, rule=rule)


def _events(case: Case, kind: str) -> int:
    """Return the number of events of a kind."""
    return next(number for number in count() if f"in_{kind}hit_id{number}" not in case.arrays)


def rows(found: LabelMatches) -> np.ndarray:
    """Return the pairs as the authors' table has them (K, 12)."""
    columns = list(vars(found).values())
    return np.stack([columns[0] + FIRST_EVENT, *columns[1:]], 1).astype(float)
