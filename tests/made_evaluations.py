"""Evaluations of every downstream task, as the program `evaluate` leaves them, small and made up.

Their metrics come from the functions that an evaluation calls, as the page is given them.
"""

from dataclasses import replace

import numpy as np
from made_results import evaluated

from pipeline import records
from pipeline.campaign import Campaign
from pipeline.downstream import TASKS as DECLARED
from pipeline.downstream.noise.spec import NOISE
from pipeline.downstream.particles.spec import PARTICLES
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.directions import evaluate_directions
from pipeline.evaluation.momenta import evaluate_momenta
from pipeline.evaluation.result import EvaluationResult
from pipeline.evaluation.values import evaluate_values

SKILL = {"frozen": 0.6, "lora": 0.8, "full": 1.0, "scratch": 0.4}
LABELS = (100, 1000)
# Track finding first: its table and displays stand at the head of the page.
TASKS = (
    "tracks",
    *(
        name
        for name in sorted(
            DECLARED.keys() - {"custom"}, key=lambda name: (name != "particles", name)
        )
        if name != "tracks"
    ),
)
FEW = 20  # resamples


def campaign_of_all_tasks(campaign, names=TASKS):
    """Return `campaign` with a fine-tuning of each task, in two modes, on two counts of labels."""
    declared = campaign.model_dump()
    asked = declared["finetune"].pop("tracking") | {
        "modes": ["frozen", "scratch"],
        "labels": list(LABELS),
        "seeds": [1, 2],
    }
    needed = {
        "jets": {"classes": ["QCD", "top"]},
        "anomaly": {"classes": ["QCD", "top"], "signal": ["top"]},
        "values": {"targets": {"sigma8": [0.0, 1.0]}},
    }
    for name in names:
        head = {"task": name} | needed.get(name, {})
        declared["finetune"][name] = asked | {"head": head}
    return Campaign.model_validate(declared)


def write_evaluation(folder, task, finetuned):
    """Write the result, the metrics and the first events of one evaluation."""
    rng = np.random.default_rng(task.seed)
    name = finetuned.head.task
    skill = SKILL[finetuned.mode] * np.log10(finetuned.labels) + 0.1 * finetuned.seed
    look, arrays = MAKERS[name](skill, rng)
    scores, intervals = look.numbers
    folder.finish(
        evaluated(
            scores,
            intervals=intervals,
            about=look.about,
            task=name,
            mode=finetuned.mode,
            labels=finetuned.labels,
            seed=finetuned.seed,
            weights_sha256=f"{task.seed:02d}" * 32,
        )
    )
    records.write(folder.pictures, look.pictures)
    np.savez(folder.events, **arrays)


def probabilities(true, classes, skill, rng):
    """Return (N, C) probabilities that tell the true class the better, the greater the skill."""
    logits = rng.normal(size=(len(true), classes))
    logits[np.arange(len(true)), true] += skill
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def jets(skill, rng, names=("QCD", "top"), shown=4):
    true = rng.integers(0, len(names), 500)
    told = probabilities(true, len(names), skill, rng)
    look = evaluate_classes(true, told, None, names=names, seed=1, resamples=FEW)
    sizes = rng.integers(20, 50, shown)
    prongs = rng.normal(0, 0.25, (3, 2))
    which = rng.integers(0, 3, sizes.sum())
    place = prongs[which] + rng.normal(0, 0.08, (sizes.sum(), 2))
    log_pt = np.log(rng.exponential(12, sizes.sum()) + 0.5)
    return look, {
        "points": np.stack([log_pt, *place.T], axis=1).astype(np.float32),
        "columns": np.array(["log_pt", "deta", "dphi"]),
        "offsets": np.concatenate([[0], sizes.cumsum()]),
        "event_id": np.arange(shown) + 40,
        "true_label": true[:shown],
        "predicted_probabilities": told[:shown].astype(np.float32),
    }


def anomaly(skill, rng):
    look, arrays = jets(skill, rng)
    return replace(look, scores=look.scores | {"auc_samples": 0.6}), arrays


def vertices(skill, rng, shown=4):
    _, arrays = jets(skill, rng, shown=shown)
    count = len(arrays["points"])
    true, charge = rng.integers(0, 3, count), rng.integers(-1, 2, count)
    ari = 1 - 0.2 / skill
    look = EvaluationResult({"ari": ari, "ari_particles": ari}, {"ari": (ari - 0.01, ari + 0.01)})
    truth = {"true_vertex": true, "true_charge": charge, "predicted_track": true + 1}
    return look, {n: arrays[n] for n in ("points", "columns", "offsets", "event_id")} | truth


def values(skill, rng, shown=4):
    true = rng.normal(size=(200, 1))
    told = true + rng.normal(0, 1 / skill, (200, 1))
    sizes = np.full(shown, 30)
    return evaluate_values(true, told, ("sigma8",), seed=1, resamples=FEW), {
        "points": rng.uniform(0, 100, (sizes.sum(), 4)).astype(np.float32),
        "columns": np.array(["x", "y", "z", "log_mass"]),
        "units": np.array(["Mpc/h", "Mpc/h", "Mpc/h", "1"]),
        "offsets": np.concatenate([[0], sizes.cumsum()]),
        "event_id": np.arange(shown),
        "true_sigma8": true[:shown, 0],
        "predicted_values": told[:shown],
    }


def direction(skill, rng, shown=4):
    true = rng.normal(size=(300, 3))
    told = true + rng.normal(0, 1.5 / skill, (300, 3))
    worse = true + rng.normal(0, 2, (300, 3))
    look = evaluate_directions(true, told, seed=1, baseline=worse, resamples=FEW)
    x, y, z = (true[:shown] / np.linalg.norm(true[:shown], axis=1, keepdims=True)).T
    unit = told[:shown] / np.linalg.norm(told[:shown], axis=1, keepdims=True)
    geometry = strings(rng)
    sizes = rng.integers(30, 60, shown)
    seen = [light(geometry, true[event], sizes[event], rng) for event in range(shown)]
    sensors, times = zip(*seen, strict=True)
    points = np.stack([np.concatenate(times), rng.gamma(1, 1, sizes.sum()) + 0.1], axis=1)
    return look, {
        "points": points.astype(np.float32),
        "columns": np.array(["time", "charge"]),
        "offsets": np.concatenate([[0], sizes.cumsum()]),
        "event_id": np.arange(shown) + 7,
        "true_sensor_id": np.concatenate(sensors),
        "true_azimuth": np.arctan2(y, x) % (2 * np.pi),
        "true_zenith": np.arccos(z),
        "predicted_direction": unit.astype(np.float32),
        "geometry": geometry.astype(np.float32),
    }


def strings(rng):
    """Return the places (S, 3), in m, of 60 sensors on each of 86 strings."""
    angle, radius = rng.uniform(0, 2 * np.pi, 86), 500 * np.sqrt(rng.uniform(0, 1, 86))
    depth = np.linspace(-500, 500, 60)
    x, y = (np.repeat(radius * f(angle), 60) for f in (np.cos, np.sin))
    return np.stack([x, y, np.tile(depth, 86)], axis=1)


def light(geometry, came_from, pulses, rng):
    """Return the sensors near a track through the middle, and when they saw its light, in ns."""
    way = -came_from / np.linalg.norm(came_from)
    along = geometry @ way
    off = np.linalg.norm(geometry - along[:, None] * way, axis=1)
    near = np.argsort(off + rng.exponential(40, len(off)))[:pulses]
    order = np.argsort(along[near])
    return near[order], 1e4 + along[near][order] / 0.3 + off[near][order] / 0.22


def points_of(classes, names, label):
    """Return a maker of classes of points in a time projection chamber."""

    def make(skill, rng):
        offsets = np.arange(0, 601, 150)
        true = rng.integers(0, classes, 600)
        told = probabilities(true, classes, skill, rng)
        look = evaluate_classes(true, told, offsets, names=names, seed=1, resamples=FEW)
        arrays = {f"true_{label}": true, "predicted_probabilities": told.astype(np.float32)}
        return look, chamber(offsets, rng) | arrays

    return make


def momentum(skill, rng):
    offsets = np.arange(0, 601, 150)
    true = rng.gamma(2, 0.5, 600) + 0.1
    told = np.log(true) + rng.normal(0, 0.3 / skill, 600)
    look = evaluate_momenta(true, np.exp(told), seed=1, resamples=FEW)
    arrays = {"true_pt_gev": true, "true_track": np.ones(600, int), "predicted_log_pt": told}
    return look, chamber(offsets, rng) | arrays


def tracks(skill, rng):
    offsets = np.arange(0, 601, 150)
    true = np.tile(np.repeat(np.arange(10), 15), 4)
    found = np.where(rng.uniform(size=600) < 0.2 / skill, 3, true)
    ari = 1 - 0.2 / skill
    scores = {"ari": ari, "track_efficiency": ari + 0.01, "fake_rate": (1 - ari) / 2}
    look = EvaluationResult(scores, {"ari": (ari - 0.01, ari + 0.01)})
    return look, chamber(offsets, rng) | {"true_track": true, "predicted_track": found}


def chamber(offsets, rng):
    """Return points of events in a time projection chamber."""
    count = int(offsets[-1])
    columns = [
        rng.gamma(2, 120, count),
        rng.normal(0, 0.6, count),
        rng.uniform(-np.pi, np.pi, count),
        rng.choice(np.linspace(31.4, 75.4, 48), count),
    ]
    return {
        "points": np.stack(columns, axis=1).astype(np.float32),
        "columns": np.array(["energy", "eta", "phi", "r"]),
        "offsets": offsets,
        "event_id": np.arange(len(offsets) - 1),
    }


MAKERS = {
    **dict.fromkeys(("tracks", "clusters", "edges"), tracks),
    "particles": points_of(5, PARTICLES, "pid"),
    "noise": points_of(2, NOISE, "noise"),
    "momentum": momentum,
    "jets": jets,
    "anomaly": anomaly,
    "vertices": vertices,
    "values": values,
    "direction": direction,
}
