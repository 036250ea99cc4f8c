"""How good the found tracks are: grouping, efficiency and purity, with intervals over events."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import (
    Contingency,
    Floats,
    Ints,
    Squares,
    adjusted_rand_index,
    contingency,
    squares,
)
from pipeline.evaluation.inputs import check_offsets
from pipeline.evaluation.intervals import Interval, ratio_interval, resampled
from pipeline.evaluation.matching import STYLES, Matches, Rule, match

RULE = Rule()


@dataclass(frozen=True)
class TrackingScores:
    """The scores of a set of events; NaN where there is nothing to divide by.

    Noise in the adjusted Rand index: `ari` is the mean over events over all points, with the noise
    of an event as one class and its unassigned points as one cluster, as FM4NPP's authors score.
    `ari_particles` leaves out the points of true id 0, and the events that have no others.
    `ari_pooled` is of all points of all events as one set; it is not to be compared with means.

    Efficiencies and purities are ratios of sums over events. Track efficiency: reconstructed of
    all particles. Track purity: matched of all tracks; the fake rate is the rest. Duplicate rate:
    further tracks per reconstructed particle. Hit efficiency: the largest fraction of a particle's
    points in one track, mean over particles; hit purity: the largest fraction of a track's points
    of one particle, mean over tracks. Intervals hold 68 % of bootstrap resamples of the events.
    """

    events: int
    points: int
    rule: Rule
    ari: float
    ari_interval: Interval
    ari_particles: float
    ari_pooled: float
    track_efficiency: float
    track_efficiency_interval: Interval
    track_purity: float
    track_purity_interval: Interval
    fake_rate: float
    duplicate_rate: float
    hit_efficiency: float
    hit_purity: float
    ari_per_event: Floats
    ari_particles_per_event: Floats
    matches_per_event: Matches

    def summary(self) -> dict[str, Any]:
        """Return the scores without the per-event arrays, ready for JSON; None for NaN."""
        values = {
            name: value for name, value in vars(self).items() if not name.endswith("per_event")
        }
        return {name: _plain(value) for name, value in values.items()}


def evaluate_events(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    rule: Rule = RULE,
    resamples: int = 1000,
    seed: int = 1,
) -> TrackingScores:
    """Return the scores of the tracks found in E events.

    Args:
        true: (P,) the particle of each point; 0 is noise. Ids may be negative, or exceed 2^53.
        predicted: (P,) the track each point was put in; 0 is unassigned.
        offsets: (E+1,) event e holds the points offsets[e] to offsets[e+1] − 1.
        rule: When a track matches a particle.
        resamples: How often the events are drawn anew for the intervals.
        seed: Of the draws.

    Raises:
        ValueError: An array has another shape or kind, or there is no event.
    """
    return scores_of(per_event(true, predicted, offsets, rule=rule), rule, resamples, seed=seed)


@dataclass(frozen=True)
class PerEvent:
    """What is found in each event, (E,) each; `ari_particles` is NaN where no particle has a point.

    That of all events is that of some of them, and of the others behind it.
    """

    squares: Squares
    ari: Floats
    ari_particles: Floats
    matches: Matches


def per_event(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    table: Contingency | None = None,
    *,
    rule: Rule = RULE,
) -> PerEvent:
    """Return what is found in each event; `table`, if there is one, is that of the same arrays.

    Arguments and errors are those of `evaluate_events`.
    """
    table = tabulated(true, predicted, offsets) if table is None else table
    signal = true != 0
    event = np.repeat(np.arange(table.events), np.diff(offsets))[signal]
    clean = contingency(event, _ids(true[signal]), _ids(predicted[signal]), events=table.events)
    has_signal = np.bincount(event, minlength=table.events) > 0
    sums = squares(table)
    return PerEvent(
        squares=sums,
        ari=sums.rand_index(),
        ari_particles=np.where(has_signal, adjusted_rand_index(clean), np.nan),
        matches=match(table, rule),
    )


def scores_of(each: PerEvent, rule: Rule, resamples: int, *, seed: int) -> TrackingScores:
    """Return the scores of what is found in each of E events."""
    ari, found, events = each.ari, each.matches, len(each.ari)
    has_signal = ~np.isnan(each.ari_particles)
    columns = [ari, np.ones(events), found.reconstructed, found.particles]
    sums = resampled(np.stack([*columns, found.matched, found.tracks], 1), resamples, seed=seed)
    return TrackingScores(
        events=events,
        points=int(each.squares.points.sum()),
        rule=rule,
        ari=float(ari.mean()),
        ari_interval=ratio_interval(sums[:, 0], sums[:, 1]),
        ari_particles=_ratio(each.ari_particles[has_signal], has_signal),
        ari_pooled=float(each.squares.pooled().rand_index()[0]),
        track_efficiency=_ratio(found.reconstructed, found.particles),
        track_efficiency_interval=ratio_interval(sums[:, 2], sums[:, 3]),
        track_purity=_ratio(found.matched, found.tracks),
        track_purity_interval=ratio_interval(sums[:, 4], sums[:, 5]),
        fake_rate=1 - _ratio(found.matched, found.tracks),
        duplicate_rate=_ratio(found.duplicates, found.reconstructed),
        hit_efficiency=_ratio(found.particle_shares, found.particles),
        hit_purity=_ratio(found.track_shares, found.tracks),
        ari_per_event=ari,
        ari_particles_per_event=each.ari_particles,
        matches_per_event=found,
    )


def under_all_rules(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    rule: Rule = RULE,
) -> dict[str, float]:
    """Return track efficiency, purity, fake and duplicate rate in each style of matching.

    The names end in the style, as `track_efficiency_ATLAS`; fraction and least lengths are those
    of `rule`. Arguments, errors and definitions are those of `evaluate_events`.
    """
    table = tabulated(true, predicted, offsets)
    found: dict[str, float] = {}
    for style in STYLES:
        found |= rates(match(table, replace(rule, style=style)), style)
    return found


def rates(matches: Matches, style: str) -> dict[str, float]:
    """Return efficiency, purity, fakes and duplicates of tracks that are matched in a `style`."""
    purity = _ratio(matches.matched, matches.tracks)
    return {
        f"track_efficiency_{style}": _ratio(matches.reconstructed, matches.particles),
        f"track_purity_{style}": purity,
        f"fake_rate_{style}": 1 - purity,
        f"duplicate_rate_{style}": _ratio(matches.duplicates, matches.reconstructed),
    }


def tabulated(
    true: NDArray[np.integer], predicted: NDArray[np.integer], offsets: NDArray[np.integer]
) -> Contingency:
    """Return the table of the tracks found in E events; arguments as of `evaluate_events`.

    Raises:
        ValueError: An array has another shape or kind, or there is no event.
    """
    _check(true, predicted, offsets)
    events = len(offsets) - 1
    event = np.repeat(np.arange(events), np.diff(offsets))
    return contingency(event, _ids(true), _ids(predicted), events=events)


def _check(
    true: NDArray[np.integer], predicted: NDArray[np.integer], offsets: NDArray[np.integer]
) -> None:
    """Raise ValueError where the arrays cannot be ids and offsets of events."""
    for name, array in (("true", true), ("predicted", predicted), ("offsets", offsets)):
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            message = f"{name}: {array.dtype} of shape {array.shape}; expected (P,) integers."
            raise ValueError(message)
    if len(predicted) and predicted.min() < 0:
        message = f"predicted: holds {predicted.min()}; expected 0 for unassigned, tracks above."
        raise ValueError(message)
    if len(true) != len(predicted):
        message = (
            f"{len(true)} true ids and {len(predicted)} predicted ids; one per point expected."
        )
        raise ValueError(message)
    check_offsets(offsets, len(true))


def _ids(array: NDArray[np.integer]) -> Ints:
    """Return `array` as int64, which holds every id exactly."""
    return array.astype(np.int64)


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> float:
    """Return the ratio of the sums over events, NaN for 0/0."""
    return float(top.sum() / bottom.sum()) if bottom.sum() else float("nan")


def _plain(value: Any) -> Any:
    """Return `value` in the types of JSON, None for NaN."""
    if isinstance(value, Rule):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
