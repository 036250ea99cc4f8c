"""How well codes are used, and whether samples can be distinguished from their codes.

Axes: N samples, F features, K codes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def usage(counts: NDArray[np.integer]) -> float:
    """Return the share of codes that occur, of `counts` (K) how often each does."""
    return float((counts > 0).mean())


def perplexity(counts: NDArray[np.integer]) -> float:
    """Return exp(entropy) by `counts` (K): how many codes there would be, all as frequent.

    One where none occurs.
    """
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(np.exp(-np.sum(shares * np.log(shares))))


def two_sample_auc(real: NDArray[Any], made: NDArray[Any], *, seed: int) -> float:
    """Return how well boosted trees distinguish made samples (N, F) from real ones (0.5: not).

    The area under the ROC curve of scores from five-fold cross-validation; no sample is scored by
    trees that it taught. Classifier two-sample test: Lopez-Paz and Oquab, arXiv:1610.06545. NaN in
    a feature is a value like others to the trees. The samples may differ in number.

    Raises:
        ValueError: The features differ, or there are fewer than five of either.
    """
    if real.ndim != 2 or real.shape[1:] != made.shape[1:]:
        message = f"real {real.shape} and made {made.shape}; expected (N, F) of the same features."
        raise ValueError(message)
    if min(len(real), len(made)) < FOLDS:
        message = (
            f"{len(real)} real and {len(made)} made samples; expected {FOLDS} or more of each."
        )
        raise ValueError(message)
    from sklearn.metrics import roc_auc_score  # takes a while to load

    features = np.concatenate([real, made]).astype(np.float64)
    is_made = np.repeat([0, 1], [len(real), len(made)])
    return float(roc_auc_score(is_made, _predicted(features, is_made, seed)[:, 1]))


def class_accuracy(features: NDArray[Any], label: NDArray[np.integer], *, seed: int) -> float:
    """Return how often boosted trees predict the class of a sample (N, F), in cross-validation.

    Of samples as they were and as their codes stand for them, the difference is what the codes have
    lost of the classes (OmniJet-alpha, arXiv:2403.05618, §4.1, whose judge is a transformer).

    Raises:
        ValueError: There is one class alone, or a class has fewer than five samples.
    """
    classes, counts = np.unique(label, return_counts=True)
    if len(classes) < 2 or counts.min() < FOLDS:
        message = (
            f"label: {len(classes)} classes, the least with {counts.min() if len(counts) else 0} "
            f"samples; expected two or more, with {FOLDS} each."
        )
        raise ValueError(message)
    found = _predicted(np.asarray(features, np.float64), label, seed)
    return float((classes[found.argmax(1)] == label).mean())


def _predicted(features: NDArray[Any], label: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Return the probability of each class (N, C), of samples by trees that they did not teach."""
    # These take a while to load.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingClassifier(random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # Threads that wait for each other on shared cores take a hundred times as long as one.
    with threadpool_limits(1, user_api="openmp"):
        found: NDArray[np.float64] = cross_val_predict(
            trees, features, label, cv=folds, method="predict_proba"
        )
    return found
