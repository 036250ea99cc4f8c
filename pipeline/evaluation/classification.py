"""How well classes of points or jets are predicted: scores, rejection of background, calibration.

Axes: N points or jets, E events, C classes, G groups of events, R resamples, B bins of confidence,
M sums: C × C counts, one of log losses, B of right minus confidence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classified import BINS, Classified, Integers, bins
from pipeline.evaluation.inputs import check_offsets, check_rows, check_shape
from pipeline.evaluation.intervals import (
    Floats,
    Interval,
    groups,
    percentiles,
    resampled,
)
from pipeline.evaluation.per_class import (
    BACKGROUND,
    PUBLISHED,
    REST,
    OfPair,
    areas,
    calibration,
    curves,
    of_pairs,
)
from pipeline.evaluation.ranking import auc
from pipeline.evaluation.result import RESAMPLES, EvaluationResult, Matrix, WorkingPoint

OF_TWO = (0.3, 0.5)  # signal efficiencies of the scores
TOLERANCE = 1e-3  # of a sum of probabilities in single precision
SMALLEST = float(np.finfo(np.float64).eps)  # probability in the log loss, as in scikit-learn
ABOUT = {
    "accuracy": "share classified correctly",
    "macro_recall": "mean over classes of the share of a class that is classified correctly",
    "macro_precision": "mean over classes of the share of correct predictions of a class",
    "macro_f1": "mean over classes of the harmonic mean of precision and recall",
    "auc": "area under the ROC curve, mean over pairs of classes",
    "log_loss": "cross-entropy, nats",
    "calibration_error": f"expected calibration error, {BINS} bins of the highest probability",
}


def evaluate_classes(
    true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    offsets: NDArray[np.integer] | None,
    *,
    names: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> EvaluationResult:
    """Return how well the classes of N points, or of N jets, are predicted.

    The class with the largest probability is predicted. Macro means are over classes that occur or
    are predicted, with 0 for 0/0. Intervals are of a bootstrap over events;
    `pipeline.evaluation.ranking` says how those of AUC and rejections are found.

    Args:
        true: (N,) classes from 0.
        probabilities: (N, C); each row sums to one.
        offsets: (E+1,) event e holds the points offsets[e] to offsets[e+1] − 1; None if each row
            is an event of its own, as jets are.
        names: (C) of the classes. Of two, the second is the signal, whose significance a cut
            improves (`pipeline.evaluation.significance`). Of more, each is a signal
            against "QCD" if that is one of them.
        seed: Of the bootstrap.
        resamples: How often the events are drawn anew.

    Raises:
        ValueError: Something is empty, of another shape, out of range, or no probability.
    """
    _check(true, probabilities, offsets, names)
    found = Classified(true, probabilities, _group(len(true), offsets, seed), names)
    sums = _sums(found)
    values = {name: float(each[0]) for name, each in _scores(sums.sum(0)[None], names).items()}
    drawn = _scores(resampled(sums, resamples, seed=seed), names)
    intervals = {name: percentiles(each) for name, each in drawn.items()}
    intervals["calibration_error"] = _spread(values["calibration_error"], drawn)
    values["auc"], intervals["auc"] = auc(found.true, found.scores, found.group)
    for name, (area, ends) in areas(found).items():
        values[f"auc_{name}"], intervals[f"auc_{name}"] = area, ends
    class_pairs = of_pairs(found, len(sums), seed=seed)
    points = [point for pair in class_pairs for point in pair.points]
    rejections = _rejections(points, len(names))
    for name, each in rejections.items():
        values[name], intervals[name] = _number(each.rejection), _ends(each)
    counts = sums.sum(0)[: len(names) ** 2].reshape(len(names), -1).astype(np.int64)
    about = _about(names, rejections, class_pairs)
    of_cuts = class_pairs[0].of_cuts if len(names) == 2 else EvaluationResult({})
    sure = calibration((each.confidence, each.predicted == each.true) for each in found.slices())
    return EvaluationResult(
        values | dict(of_cuts.scores),
        intervals | dict(of_cuts.intervals),
        about | dict(of_cuts.about),
        curves=[*curves(found, class_pairs), *of_cuts.curves, sure],
        matrices=[Matrix("confusion", list(names), counts.tolist())],
        working_points=points,
    )


def _number(value: float | None, other: float = np.nan) -> float:
    """Return `value`, or the `other` where there is none."""
    return other if value is None else value


def _ends(point: WorkingPoint) -> Interval:
    """Return the interval of a rejection, endless above where none of the background passes."""
    return _number(point.low), _number(point.high, np.inf)


def _check(
    true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    offsets: NDArray[np.integer] | None,
    names: Sequence[str],
) -> None:
    """Raise ValueError where there are no classes or no probabilities of them."""
    rows, classes = len(true), len(names)
    if not np.issubdtype(true.dtype, np.integer):
        message = f"true: {true.dtype} of shape {true.shape}; expected integers."
        raise ValueError(message)
    check_shape("true", true, (rows,), "(N,) classes of one point or more")
    shape = f"({rows}, {classes}), a row for each true class and a column for each name"
    check_shape("probabilities", probabilities, (rows, classes), shape)
    if classes < 2:
        message = f"names: {list(names)}; expected two classes or more."
        raise ValueError(message)
    expected = f"a class from 0 to {classes - 1} ({', '.join(names)})"
    check_rows("true", np.asarray((true >= 0) & (true < classes)), true, expected)
    good = np.all((probabilities >= 0) & (probabilities <= 1 + TOLERANCE), axis=1)
    check_rows("probabilities", good, probabilities, "numbers from 0 to 1")
    sums = probabilities.sum(1, dtype=np.float64)
    check_rows("sum of probabilities", np.abs(sums - 1) <= TOLERANCE, sums, "1, as of a softmax")
    if offsets is not None:
        check_offsets(offsets, rows)


def _group(rows: int, offsets: NDArray[np.integer] | None, seed: int) -> Integers:
    """Return the group (N) of events that each row belongs to, in the fewest bytes."""
    of_event = groups(rows if offsets is None else len(offsets) - 1, seed=seed)
    found: Integers = of_event.astype(np.min_scalar_type(of_event.max()))
    if offsets is None:
        return found
    ends = offsets.astype(np.int64)
    return np.repeat(found, ends[1:] - ends[:-1])


def _sums(found: Classified) -> Floats:
    """Return the sums (G, M) over each group, of which the scores are made."""
    classes, count = len(found.names), int(found.group.max()) + 1
    counts, losses, gaps = (np.zeros(count * width) for width in (classes**2, 1, BINS))
    for each in found.slices():
        predicted, confidence = each.predicted, each.confidence
        likelihood = np.clip(each.scores[np.arange(len(each.true)), each.true], SMALLEST, 1)
        group = each.group.astype(np.int64)
        # in the order of the rows, however they are divided
        np.add.at(counts, group * classes**2 + each.true * classes + predicted, 1)
        np.add.at(losses, group, -np.log(likelihood))
        np.add.at(gaps, group * BINS + bins(confidence), (predicted == each.true) - confidence)
    return np.concatenate([each.reshape(count, -1) for each in (counts, losses, gaps)], axis=1)


def _scores(sums: Floats, names: Sequence[str]) -> dict[str, Floats]:
    """Return the scores (R) of sums (R, M); NaN for the F1 of a class that is not there."""
    classes = len(names)
    table = sums[:, : classes**2].reshape(-1, classes, classes)
    right, true, predicted = table.diagonal(axis1=1, axis2=2), table.sum(2), table.sum(1)
    total, occurs = true.sum(1), true + predicted > 0
    f1 = _share(2 * right, true + predicted)
    shares = {"recall": _share(right, true), "precision": _share(right, predicted), "f1": f1}
    found = {"accuracy": right.sum(1) / total}
    found |= {f"macro_{name}": each.sum(1) / occurs.sum(1) for name, each in shares.items()}
    of_class = np.where(occurs, f1, np.nan)
    found |= {f"f1_{name}": of_class[:, index] for index, name in enumerate(names)}
    found["log_loss"] = sums[:, classes**2] / total
    found["calibration_error"] = np.abs(sums[:, -BINS:]).sum(1) / total
    return found


def _share(tops: Floats, bottoms: Floats) -> Floats:
    """Return tops/bottoms, 0 for 0/0."""
    return np.divide(tops, bottoms, out=np.zeros_like(tops), where=bottoms > 0)


def _spread(value: float, drawn: Mapping[str, Floats]) -> Interval:
    """Return the calibration error and less or more of its standard deviation over resamples.

    A sum of absolute values is larger in resamples, so their percentiles may not hold it.
    """
    deviation = float(drawn["calibration_error"].std())
    return max(value - deviation, 0.0), value + deviation


def _rejections(points: Sequence[WorkingPoint], classes: int) -> dict[str, WorkingPoint]:
    """Return the working points that are scores, by the name of the score.

    Of two classes those at 30 and 50 % of the signal, of more that of each signal against "QCD".
    """
    if classes == 2:
        return {
            f"rejection_{each.efficiency:.0%}".rstrip("%"): each
            for each in points
            if each.efficiency in OF_TWO
        }
    return {
        f"rejection_{each.signal}": each
        for each in points
        if each.background == BACKGROUND and each.efficiency == PUBLISHED.get(each.signal, 0.5)
    }


def _about(
    names: Sequence[str], points: Mapping[str, WorkingPoint], class_pairs: Sequence[OfPair]
) -> dict[str, str]:
    """Return what each score means."""
    about = ABOUT | {f"f1_{name}": f"F1 of {name}" for name in names}
    about |= {f"auc_{name}": f"area under the ROC curve of {name} against {REST}" for name in names}
    background = {(each.signal, each.background): each.number for each in class_pairs}
    for name, each in points.items():
        about[name] = f"1/ε_B at a signal efficiency of {100 * each.efficiency:g} %"
        if each.rejection is None:
            number = background[each.signal, each.background]
            about[name] += f": none, for no background of {number} passes"
    return about
