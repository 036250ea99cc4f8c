"""OmniJet-alpha examined: jets drawn from the model, beside jets that it never saw.

As many are drawn as there are held-out jets. They are told apart from the truth as it is, and from
the truth after tokenising, which is the best that a model of these tokens can do. Axes: J jets, P
constituents.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.events import offsets_of
from pipeline.evaluation.codebooks import FOLDS, class_accuracy, two_sample_auc
from pipeline.evaluation.distances import (
    Distance,
    quantile_divergence,
    wasserstein,
    with_interval,
)
from pipeline.evaluation.jets import (
    OF_CONSTITUENTS,
    OF_JETS,
    OF_SHAPES,
    UNITS,
    observables,
    shapes,
)
from pipeline.evaluation.look import Histogram, Look, histogram
from pipeline.families.omnijet import TOKEN
from pipeline.families.tokenizers import MOST_CONSTITUENTS
from pipeline.training.examinations import Examined
from pipeline.training.loader import physical
from pipeline.training.models.omnijet import NextTokenModel
from pipeline.training.tokenizers import Codec, load

JETS_AT_ONCE = 256
BINS = dict.fromkeys((*OF_JETS, *OF_SHAPES), 30) | dict.fromkeys(OF_CONSTITUENTS, 50)
OFFSETS = ("jet_eta", "jet_phi")
JUDGED = ("jet_pt", "jet_mass", "multiplicity", *OF_SHAPES)
Measured = Mapping[str, NDArray[np.float64]]
Jets = tuple[torch.Tensor, NDArray[np.int64]]  # codes (P) and offsets (J + 1)


def examine(examined: Examined) -> Look:
    """Return how far generated jets are from the truth, raw and reconstructed."""
    codec = load(examined.store, examined.device)
    events = examined.events
    true = _measured(events.packed.per_point["points"], events.offsets)
    codes = torch.from_numpy(events.packed.per_point[TOKEN].astype(np.int64))
    best = _decoded(examined, codec, (codes, events.offsets))
    drawn = generated(examined, codec, len(events))
    made = _decoded(examined, codec, drawn)
    full = np.diff(drawn[1]) == MOST_CONSTITUENTS
    scores, intervals = {"full_jets": float(full.mean())}, {}
    for name, bins in BINS.items():
        kinds: dict[str, Distance] = {
            "kl": partial(quantile_divergence, bins=bins),
            "w1": wasserstein,
        }
        for kind, distance in kinds.items():
            found = with_interval(distance, true[name], made[name], seed=examined.seed)
            scores[f"{kind}_{name}"], intervals[f"{kind}_{name}"] = found
        scores[f"kl_{name}_reconstructed"] = quantile_divergence(best[name], made[name], bins=bins)
        scores[f"w1_{name}_reconstructed"] = wasserstein(best[name], made[name])
        scores[f"w1_{name}_of_tokens"] = wasserstein(true[name], best[name])
    label = events.packed.per_event.get("label")
    scores |= _judged(true, best, made, label, examined.seed)
    about = {name: text for name, text in _about().items() if name in scores}
    histograms = _histograms(true, best, made)
    return Look(scores, intervals, about=about, histograms=histograms)


def _judged(
    true: Measured, best: Measured, made: Measured, label: NDArray[Any] | None, seed: int
) -> dict[str, float]:
    """Return what boosted trees can tell by a jet's mass, multiplicity, pT and substructure."""
    of_truth, of_tokens, of_made = (
        np.stack([each[name] for name in JUDGED], 1) for each in (true, best, made)
    )
    scores = {}
    if len(of_truth) >= FOLDS:
        scores["auc_generated"] = two_sample_auc(of_truth, of_made, seed=seed)
        scores["auc_of_tokens"] = two_sample_auc(of_truth, of_tokens, seed=seed)
    counts = np.unique(label, return_counts=True)[1] if label is not None else np.zeros(1)
    if label is not None and len(counts) > 1 and counts.min() >= FOLDS:
        scores["class_accuracy"] = class_accuracy(of_truth, label, seed=seed)
        scores["class_accuracy_of_tokens"] = class_accuracy(of_tokens, label, seed=seed)
    return scores


def _about() -> dict[str, str]:
    """Return what each score means."""
    about = {
        "full_jets": "share of generated jets that were ended at 128 constituents",
        "auc_generated": "by which trees tell generated jets from true ones; 0.5: not at all",
        "auc_of_tokens": "by which they tell jets after tokenising from those before",
        "class_accuracy": "of trees that tell the class of true jets",
        "class_accuracy_of_tokens": "after tokenising: what is missing was lost in it",
    }
    for name in BINS:
        unit = UNITS.get(name, "1")
        about[f"kl_{name}"] = "KL divergence, nats: truth to generated"
        about[f"kl_{name}_reconstructed"] = "nats: truth after tokenising to generated"
        about[f"w1_{name}"] = f"Wasserstein-1 of truth and generated, unit {unit}"
        about[f"w1_{name}_reconstructed"] = f"of truth after tokenising and generated, unit {unit}"
        about[f"w1_{name}_of_tokens"] = f"of truth before and after tokenising, unit {unit}"
    return about


def _histograms(true: Measured, best: Measured, made: Measured) -> list[Histogram]:
    """Return a histogram of each quantity; constituents' pT spans decades, so of its logarithm.

    The axis is the sum of all constituents, so the true offsets of a jet from it are next to zero:
    the truth that tokens can tell is shown in their place.
    """
    found: list[Histogram] = []
    for name in BINS:
        title, unit = name.replace("_", " "), UNITS.get(name, "1")
        pair = (true[name], made[name])
        if name in OFFSETS:
            pair, title = (best[name], made[name]), f"{title}, truth after tokenising"
        if name == "constituent_pt":
            pair, title, unit = (np.log10(pair[0]), np.log10(pair[1])), f"log10 {title}", "GeV"
        found.append(histogram(title, *pair, unit=unit))
    return found


def generated(examined: Examined, codec: Codec, count: int) -> Jets:
    """Return `count` jets drawn from the model; the seed of the examination decides which."""
    model = examined.system.module
    assert isinstance(model, NextTokenModel)
    generator = torch.Generator(examined.device).manual_seed(examined.seed)
    jets: list[torch.Tensor] = []
    while len(jets) < count:
        many = min(JETS_AT_ONCE, count - len(jets))
        jets += model.sample(many, generator, decode=codec.decode)
    return torch.cat(jets).cpu(), offsets_of(np.array([len(each) for each in jets]))


@torch.no_grad()
def _decoded(examined: Examined, codec: Codec, jets: Jets) -> Measured:
    """Return what is measured of the jets that the codes stand for."""
    codes, offsets = jets
    parts = []
    for start in range(0, len(offsets) - 1, JETS_AT_ONCE):
        cuts = offsets[start : start + JETS_AT_ONCE + 1]
        within = torch.from_numpy(cuts - cuts[0]).to(examined.device)
        here = codes[cuts[0] : cuts[-1]].to(examined.device)
        parts.append(codec.decode(here, within).float().cpu().numpy())
    return _measured(physical(np.concatenate(parts), examined.store.manifest.columns), offsets)


def _measured(points: NDArray[np.float32], offsets: NDArray[np.int64]) -> Measured:
    """Return what is measured of jets with constituents (P, 3): ln(pT / GeV), Δη, Δφ."""
    log_pt, deta, dphi = points.astype(np.float64).T
    constituents = (np.exp(log_pt), deta, dphi, offsets)
    return observables(*constituents) | shapes(*constituents)
