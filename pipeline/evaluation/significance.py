"""How much a cut on a score improves the significance of a signal: ε_S/√ε_B.

The characteristic (SIC) is what S/√B grows by when a share ε_S of the signal and ε_B of the
background is kept; 1 without a cut (Gallicchio et al., arXiv:1010.3698; of searches for
anomalies: Metodiev, Nachman, Thaler, arXiv:1708.02949). Axes: S of signal, B of background, G
groups of events, T thresholds.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.intervals import Floats, Interval, Ints, percentiles, weights
from pipeline.evaluation.ranking import CURVE_POINTS, RESAMPLES, Ranked, no_less
from pipeline.evaluation.result import Curve, EvaluationResult

LEAST = 10  # background that must pass: of fewer, ε_B is known to no better than a third
FIXED = {"sic_1e-2": 1e-2, "sic_1e-3": 1e-3}


def improvement(found: Ranked, groups: int, *, seed: int) -> EvaluationResult:
    """Return the largest ε_S/√ε_B, that at fixed ε_B, their intervals, and the curve.

    Only thresholds that ten of the background pass count; where there is none, a score is NaN. The
    intervals are of a bootstrap over groups: at fixed ε_B thresholds are set anew in each draw; the
    largest is that of the threshold at which it was found, for a maximum over draws would be larger
    than over the sample. At fixed ε_B no more of the background passes than that, if its scores
    differ.
    """
    values = {"sic_max": np.nan, **dict.fromkeys(FIXED, np.nan)}
    intervals: dict[str, Interval] = dict.fromkeys(values, (np.nan, np.nan))
    kept = np.arange(LEAST, len(found.background) + 1)
    if len(found.signal) and len(kept):
        efficiency, sic = _curve(found, kept)
        best = int(sic.argmax())
        values["sic_max"] = float(sic[best])
        fixed = {name: _kept(share, len(found.background)) for name, share in FIXED.items()}
        for name, number in fixed.items():
            if number >= LEAST:
                values[name] = float(sic[number - LEAST])
        drawn = np.array(list(_drawn(found, int(kept[best]), groups, seed)))
        for name, column in zip(values, drawn.T, strict=True):
            if np.isfinite(values[name]):
                intervals[name] = percentiles(column)
        curves = [_thinned(efficiency, sic)]
    else:
        curves = []
    return EvaluationResult(values, intervals, _about(found, values), curves=curves)


def _kept(share: float, number: int) -> int:
    """Return how many of so much background are at most the given share."""
    return int(np.floor(share * number + 1e-9))


def _curve(found: Ranked, kept: Ints) -> tuple[Floats, Floats]:
    """Return ε_S and ε_S/√ε_B (T) where the threshold is the score of the kept-th background."""
    thresholds = found.background[kept - 1]
    signal = no_less(found.signal, thresholds) / len(found.signal)
    background = no_less(found.background, thresholds)
    return signal, signal / np.sqrt(background / len(found.background))


def _drawn(found: Ranked, best: int, groups: int, seed: int) -> Iterator[list[float]]:
    """Yield for each draw ε_S/√ε_B at the score of the `best`-th background, and at fixed ε_B."""
    threshold = found.background[best - 1]
    for weight in weights(groups, RESAMPLES, seed=seed):
        signal = np.concatenate([[0.0], weight[found.signal_group].cumsum()])
        background = np.concatenate([[0.0], weight[found.background_group].cumsum()])
        thresholds = [threshold]
        for share in FIXED.values():
            number = np.searchsorted(background, share * background[-1] + 1e-9, side="right") - 1
            thresholds.append(found.background[max(int(number), 1) - 1])
        yield [_of_draw(found, each, signal, background) for each in thresholds]


def _of_draw(found: Ranked, threshold: float, signal: Floats, background: Floats) -> float:
    """Return ε_S/√ε_B where sums of weights by falling score are given, (S + 1) and (B + 1)."""
    if signal[-1] == 0 or background[-1] == 0:
        return float("nan")
    kept = signal[no_less(found.signal, threshold)] / signal[-1]
    passed = background[no_less(found.background, threshold)]
    return float(kept / np.sqrt(passed / background[-1])) if passed else float("nan")


def _thinned(efficiency: Floats, sic: Floats) -> Curve:
    """Return the curve at up to 200 thresholds, evenly spaced in ε_S."""
    wanted = np.linspace(efficiency[0], efficiency[-1], CURVE_POINTS)
    chosen = np.unique(np.searchsorted(efficiency, wanted).clip(max=len(sic) - 1))
    x, y = efficiency[chosen].tolist(), sic[chosen].tolist()
    return Curve("SIC", "signal efficiency", "ε_S/√ε_B", x, y)


def _about(found: Ranked, values: dict[str, float]) -> dict[str, str]:
    """Return what each score means."""
    about = {"sic_max": "largest ε_S/√ε_B, where ten of the background pass or more"}
    for name, share in FIXED.items():
        about[name] = f"ε_S/√ε_B at a background efficiency of {100 * share:g} %"
        if np.isnan(values[name]):
            about[name] += f": none, for {len(found.background)} of the background are too few"
    return about
