"""OmniJet-alpha probed: jets drawn from the model, beside jets that it never saw.

As many are drawn as there are held-out jets. They are compared with the truth as it is, and with
the truth after tokenising, which is the best that a model of these tokens can do. Axes: J jets, P
constituents.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.events import offsets_of
from pipeline.data.normalisation import physical
from pipeline.evaluation.codebooks import FOLDS, class_accuracy
from pipeline.evaluation.distances import quantile_divergence, wasserstein
from pipeline.evaluation.jets import UNITS
from pipeline.evaluation.result import EvaluationResult, Histogram
from pipeline.families.omnijet.module import NextTokenModel
from pipeline.families.omnijet.spec import TOKEN
from pipeline.families.tokenizer import MOST_CONSTITUENTS
from pipeline.nn.tokenizers import Codec, load
from pipeline.probing import Subject, jets
from pipeline.probing.jets import BINS, JETS_AT_ONCE, Measured

OFFSETS = ("jet_eta", "jet_phi")
Jets = tuple[torch.Tensor, NDArray[np.int64]]  # codes (P) and offsets (J + 1)


def probe(subject: Subject) -> EvaluationResult:
    """Return how far generated jets are from the truth, raw and reconstructed."""
    codec = load(subject.store, subject.device)
    events = subject.events
    true = jets.measured(events.points, events.offsets)
    codes = torch.from_numpy(events.per_point[TOKEN].astype(np.int64))
    best = _decoded(subject, codec, (codes, events.offsets))
    drawn = generated(subject, codec, len(events))
    made = _decoded(subject, codec, drawn)
    full = np.diff(drawn[1]) == MOST_CONSTITUENTS
    scores, intervals = jets.distances(true, made, BINS, seed=subject.seed)
    scores["full_jets"] = float(full.mean())
    for name, bins in BINS.items():
        scores[f"kl_{name}_reconstructed"] = quantile_divergence(best[name], made[name], bins=bins)
        scores[f"w1_{name}_reconstructed"] = wasserstein(best[name], made[name])
        scores[f"w1_{name}_of_tokens"] = wasserstein(true[name], best[name])
    label = events.per_event.get("label")
    scores |= _judged(true, best, made, label, subject.seed)
    about = {name: text for name, text in _about().items() if name in scores}
    histograms = [_compared(name, true, best, made) for name in BINS]
    return EvaluationResult(scores, intervals, about=about, histograms=histograms)


def _judged(
    true: Measured, best: Measured, made: Measured, label: NDArray[Any] | None, seed: int
) -> dict[str, float]:
    """Return how well boosted trees distinguish jets by mass, multiplicity, pT and substructure."""
    pairs = {"auc_generated": made, "auc_of_tokens": best}
    found = {name: jets.separability(true, each, seed=seed) for name, each in pairs.items()}
    scores = {name: value for name, value in found.items() if value is not None}
    counts = np.unique(label, return_counts=True)[1] if label is not None else np.zeros(1)
    if label is not None and len(counts) > 1 and counts.min() >= FOLDS:
        scores["class_accuracy"] = class_accuracy(jets.judged(true), label, seed=seed)
        scores["class_accuracy_of_tokens"] = class_accuracy(jets.judged(best), label, seed=seed)
    return scores


def _about() -> dict[str, str]:
    """Return what each score means."""
    about = jets.about(BINS) | {
        "full_jets": "share of generated jets that were ended at 128 constituents",
        "auc_of_tokens": "by which they distinguish jets after tokenising from those before",
        "class_accuracy": "of trees that predict the class of true jets",
        "class_accuracy_of_tokens": "after tokenising: what is missing was lost in it",
    }
    for name in BINS:
        unit = UNITS.get(name, "1")
        about[f"kl_{name}_reconstructed"] = "nats: truth after tokenising to generated"
        about[f"w1_{name}_reconstructed"] = f"of truth after tokenising and generated, unit {unit}"
        about[f"w1_{name}_of_tokens"] = f"of truth before and after tokenising, unit {unit}"
    return about


def _compared(name: str, true: Measured, best: Measured, made: Measured) -> Histogram:
    """Return the histogram of a quantity.

    The axis is the sum of all constituents, so the true offsets of a jet from it are next to zero:
    the truth that tokens can express is shown instead.
    """
    if name in OFFSETS:
        return jets.compared(name, best, made, suffix=", truth after tokenising")
    return jets.compared(name, true, made)


def generated(subject: Subject, codec: Codec, count: int) -> Jets:
    """Return `count` jets drawn from the model; the seed of the probe decides which."""
    model = subject.system.module
    assert isinstance(model, NextTokenModel)
    generator = torch.Generator(subject.device).manual_seed(subject.seed)
    drawn: list[torch.Tensor] = []
    while len(drawn) < count:
        many = min(JETS_AT_ONCE, count - len(drawn))
        drawn += model.sample(many, generator, decode=codec.decode)
    return torch.cat(drawn).cpu(), offsets_of(np.array([len(each) for each in drawn]))


@torch.no_grad()
def _decoded(subject: Subject, codec: Codec, drawn: Jets) -> Measured:
    """Return what is measured of the jets that the codes stand for."""
    codes, offsets = drawn
    parts = []
    for start in range(0, len(offsets) - 1, JETS_AT_ONCE):
        cuts = offsets[start : start + JETS_AT_ONCE + 1]
        within = torch.from_numpy(cuts - cuts[0]).to(subject.device)
        here = codes[cuts[0] : cuts[-1]].to(subject.device)
        parts.append(codec.decode(here, within).float().cpu().numpy())
    return jets.measured(physical(np.concatenate(parts), subject.store.manifest.columns), offsets)
