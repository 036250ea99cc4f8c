"""Models with a flow probed: what it generates beside the truth, and the classes they predict.

As many events are generated as are held out. How many points each has, and what is known of it, is
drawn from events of the split "train", where the store has one: what is held out is not looked at.
Axes: E events, P points, F columns that flow.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.events import offsets_of
from pipeline.data.normalisation import physical
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.distances import wasserstein
from pipeline.evaluation.result import EvaluationResult
from pipeline.families.flow import LABEL, Generative
from pipeline.families.omnilearned.module import Pretrainer
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flowing, generated
from pipeline.probing import Subject, jets
from pipeline.probing.classes import names_of
from pipeline.probing.jets import JETS_AT_ONCE, Measured

TRAIN = "train"
MOST_SHARDS = 16
OF_JETS = ("log_pt", "deta", "dphi")
OFFSETS = ("jet_eta", "jet_phi")  # of true jets from their own axis next to zero: no picture
BINS = 50
Known = Mapping[str, NDArray[Any]]  # sizes (E) and arrays (E, ...) by name
SIZES = "sizes"


def probe(subject: Subject) -> EvaluationResult:
    """Return how far generated events are from true ones, and how well classes are predicted."""
    model = subject.model
    assert isinstance(model, Generative)
    mode = model.mode if isinstance(model, OmniLearned) else "generator"
    results = []
    if mode != "classifier":
        results.append(_generated(subject, model))
    if mode != "generator":
        results.append(_classified(subject, model))
    return joined(results)


def joined(results: list[EvaluationResult]) -> EvaluationResult:
    """Return all that several results hold."""
    whole = EvaluationResult({})
    for each in results:
        whole = EvaluationResult(
            scores={**whole.scores, **each.scores},
            intervals={**whole.intervals, **each.intervals},
            about={**whole.about, **each.about},
            histograms=[*whole.histograms, *each.histograms],
            curves=[*whole.curves, *each.curves],
            matrices=[*whole.matrices, *each.matrices],
        )
    return whole


def _generated(subject: Subject, model: Generative) -> EvaluationResult:
    """Return the distances of generated events from the truth; noise is what knows nothing."""
    true_points, offsets = _true(subject, model), subject.events.offsets
    known = drawn(subject, model, len(subject.events))
    made_offsets = offsets_of(known[SIZES])
    made_points, noise_points = _made(subject, model, known)
    true = _measured(model, true_points, offsets)
    made, noise = (_measured(model, each, made_offsets) for each in (made_points, noise_points))
    bins = {name: jets.BINS.get(name, BINS) for name in true}
    scores, intervals = jets.distances(true, made, bins, seed=subject.seed)
    about = jets.about(bins)
    for name in bins:
        if name != "multiplicity":
            scores[f"w1_{name}_of_noise"] = wasserstein(true[name], noise[name])
            about[f"w1_{name}_of_noise"] = "of truth and the noise that it flows from"
    if set(jets.JUDGED) <= set(true):
        apart = jets.separability(true, made, seed=subject.seed)
        scores |= {} if apart is None else {"auc_generated": apart}
    histograms = [jets.compared(name, true, made) for name in bins if name not in OFFSETS]
    about = {name: text for name, text in about.items() if name in scores}
    return EvaluationResult(scores, intervals, about, histograms)


def _measured(
    model: Generative, points: NDArray[np.floating], offsets: NDArray[np.int64]
) -> Measured:
    """Return what is measured of events with points (P, F): of jets as such, else each column."""
    columns = dict(zip(model.columns, points.astype(np.float64).T, strict=True))
    if not set(OF_JETS) <= set(columns):
        return columns | {"multiplicity": np.diff(offsets).astype(np.float64)}
    constituents = np.stack([columns.pop(name) for name in OF_JETS], 1)
    return {**jets.measured(constituents, offsets), **columns}


def _true(subject: Subject, model: Generative) -> NDArray[np.float32]:
    """Return the columns that flow of all held-out points (P, F), in their own units."""
    parts = [each.points[:, : len(model.columns)] for each in subject.batches()]
    return _restored(subject, model, torch.cat(parts).numpy())


def _restored(
    subject: Subject, model: Generative, points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return points (P, F) in their own units, if the model has them normalised."""
    if not model.normalised:
        return points
    columns = {column.name: column for column in subject.store.manifest.columns}
    return physical(points, tuple(columns[name] for name in model.columns))


def drawn(subject: Subject, model: Generative, count: int) -> Known:
    """Return what is known of `count` events, drawn anew from those of some shards of "train".

    The seed of the probe decides which.
    """
    rng = np.random.default_rng(subject.seed)
    names = ((LABEL,) if model.labelled else ()) + model.of_events()
    if TRAIN not in subject.store.splits:
        there: dict[str, NDArray[Any]] = {name: subject.events.per_event[name] for name in names}
        there[SIZES] = np.diff(subject.events.offsets)
    else:
        shards = subject.store.shards(TRAIN)
        some = rng.choice(len(shards), min(MOST_SHARDS, len(shards)), replace=False)
        read = [shards[number].read(("offsets", *names)) for number in sorted(some)]
        there = {name: np.concatenate([each[name] for each in read]) for name in names}
        there[SIZES] = np.concatenate([np.diff(each["offsets"]) for each in read])
    rows = rng.integers(0, len(there[SIZES]), count)
    # Events of one size next to each other are generated at once, without padding.
    rows = rows[np.argsort(there[SIZES][rows], kind="stable")]
    return {name: values[rows] for name, values in there.items()}


def _made(
    subject: Subject, model: Generative, known: Known
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the points (P, F) generated of events of which so much is known, and noise."""
    module = cast("Flowing", subject.system.module)
    made, noise = [], []
    for start in range(0, len(known[SIZES]), JETS_AT_ONCE):
        part = {name: each[start : start + JETS_AT_ONCE] for name, each in known.items()}
        batch = _batch(part, start, subject.seed).to(subject.device)
        made.append(generated(module, batch, model.steps))
        noise.append(module.noise.drawn(batch, "nothing but noise"))
    points, none = (torch.cat(each).float().cpu().numpy() for each in (made, noise))
    return _restored(subject, model, points), _restored(subject, model, none)


def _batch(known: Known, first: int, seed: int) -> Batch:
    """Return a batch of events of which so much is known, numbered from `first`; no points are."""
    offsets = torch.from_numpy(offsets_of(known[SIZES]))
    arrays = {name: each for name, each in known.items() if name != SIZES}
    return Batch(
        torch.zeros(int(offsets[-1]), 0),
        offsets,
        torch.arange(first, first + len(offsets) - 1),
        per_event={name: _tensor(each) for name, each in arrays.items()},
        seed=seed,
    )


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    """Return `values` as a batch has them: integers as int64, real numbers as float32."""
    return torch.from_numpy(values.astype(np.int64 if values.dtype.kind in "iu" else np.float32))


@torch.no_grad()
def _classified(subject: Subject, model: Generative) -> EvaluationResult:
    """Return how well the classes of held-out events are predicted, without noise."""
    module = subject.system.module
    assert isinstance(module, Pretrainer)
    parts = []
    for each in subject.batches():
        batch = each.to(subject.device)
        parts.append(module.logits(module.backbone(batch), batch).float().softmax(1).cpu())
    true = subject.events.per_event[LABEL].astype(np.int64)
    names = names_of(model.classes, subject.store.manifest.experiment)
    probabilities = torch.cat(parts).numpy()
    return evaluate_classes(true, probabilities, None, names=names, seed=subject.seed)
