"""Scores of a table that is read part by part: those of all events in memory, with less of it."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("torch")

from pydantic import TypeAdapter

from pipeline.data.checksums import array_hash
from pipeline.data.events import Events, offsets_of
from pipeline.downstream import AnyTask
from pipeline.evaluation.classification import evaluate_classes
from pipeline.training.scoring import _Digests, _Kept

EVENTS = 300
SETTINGS = {
    "values": {"targets": {"sigma8": (0.0, 1.0)}},
    "anomaly": {"classes": ("QCD", "top"), "signal": ("top",)},
}


def probabilities(rng, rows, classes):
    values = rng.random((rows, classes), dtype=np.float32) + np.float32(0.01)
    return values / values.sum(1, keepdims=True)


def made(task, points=20):
    """Predictions and truth of a task that nobody trained."""
    head = TypeAdapter(AnyTask).validate_python({"task": task, **SETTINGS.get(task, {})})
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 2 * points, EVENTS)
    total = int(sizes.sum())
    track = rng.integers(0, 4, total)
    truth = Events(
        source="made",
        columns=("eta", "charge", "time"),
        points=rng.random((total, 3), dtype=np.float32) + np.float32(0.1),
        offsets=offsets_of(sizes),
        event_id=np.arange(EVENTS),
        per_point={
            "track": track,
            "pt_gev": (rng.random(4)[track] * (track > 0)).astype(np.float32),
            "pid": rng.integers(0, 5, total).astype(np.int8),
            "noise": rng.integers(0, 2, total).astype(np.int8),
            "vertex": rng.integers(-1, 3, total),
            "charge": rng.integers(-1, 2, total).astype(np.int8),
            "sensor_id": rng.integers(0, 50, total).astype(np.int16),
        },
        per_event={
            "label": rng.integers(0, 2, EVENTS).astype(np.int8),
            "azimuth": rng.random(EVENTS, dtype=np.float32),
            "zenith": rng.random(EVENTS, dtype=np.float32),
            "sigma8": rng.normal(size=EVENTS).astype(np.float32),
        },
        tables={"geometry": rng.normal(size=(50, 3)).astype(np.float32)},
    )
    rows = {
        "jets": ("probabilities", lambda: probabilities(rng, EVENTS, 10)),
        "anomaly": ("probabilities", lambda: probabilities(rng, EVENTS, 2)),
        "particles": ("probabilities", lambda: probabilities(rng, total, 5)),
        "noise": ("probabilities", lambda: probabilities(rng, total, 2)),
        "direction": ("direction", lambda: rng.normal(size=(EVENTS, 3)).astype(np.float32)),
        "momentum": ("log_pt", lambda: rng.normal(size=total).astype(np.float32)),
        "values": ("values", lambda: rng.normal(size=(EVENTS, 1)).astype(np.float32)),
    }
    name, values = rows.get(task, ("track", lambda: rng.integers(0, 4, total).astype(np.int32)))
    return head, {name: values()}, truth


def parts(predicted, truth, events):
    """Yield predictions and truth of so many events at once."""
    total = len(truth.points)
    for start in range(0, len(truth), events):
        part = truth.slice(start, min(start + events, len(truth)))
        of_points = slice(*(int(truth.offsets[each]) for each in (start, start + len(part))))
        of_events = slice(start, start + len(part))
        yield (
            {n: v[of_points if len(v) == total else of_events] for n, v in predicted.items()},
            part,
        )


def kept(head, predicted, truth, events):
    found = _Kept(head)
    for part in parts(predicted, truth, events):
        found.add(*part)
    return found


def plain(result):
    return json.dumps(dataclasses.asdict(result), sort_keys=True)  # NaN equals NaN


TASKS = ("jets", "anomaly", "particles", "noise", "direction", "momentum", "values")
TASKS += ("tracks", "clusters", "edges", "vertices")


@pytest.mark.parametrize("task", TASKS)
def test_parts_score_bit_for_bit_as_all_events_at_once(task):
    head, predicted, truth = made(task)
    whole = head.scoring().score(predicted, truth, head, 1)
    assert whole.scores
    for events in (1, 128):
        found = kept(head, predicted, truth, events).result(1)
        # one sum of 15 bins is made part by part, and rounded as often
        same = {"track_purity_FM4NPP": whole.scores.get("track_purity_FM4NPP")}
        if same["track_purity_FM4NPP"] is not None:
            assert found.scores["track_purity_FM4NPP"] == pytest.approx(
                same["track_purity_FM4NPP"], abs=1e-12
            )
            found = dataclasses.replace(found, scores={**found.scores, **same})
        assert plain(found) == plain(whole)


@pytest.mark.parametrize("task", ["tracks", "clusters", "edges", "vertices", "direction"])
def test_nothing_is_kept_of_points_until_all_are_scored(task):
    few, many = (
        sum(
            values.nbytes
            for part in kept(*made(task, points=points), 100).rows
            for values in part.values()
        )
        for points in (100, 1000)
    )
    assert many < 1.05 * few < EVENTS * 1000


def test_a_part_without_known_momenta_keeps_nothing():
    head, predicted, truth = made("momentum")
    truth.per_point["pt_gev"][: truth.offsets[7]] = 0
    whole = head.scoring().score(predicted, truth, head, 1)
    assert plain(kept(head, predicted, truth, 7).result(1)) == plain(whole)


def test_classes_are_scored_a_column_at_a_time():
    rng, rows = np.random.default_rng(1), 200_000
    true = rng.integers(0, 10, rows).astype(np.int8)
    scores = probabilities(rng, rows, 10)
    offsets = np.arange(0, rows + 1, 1000)
    names = ("QCD", *map(str, range(1, 10)))
    tracemalloc.start()
    evaluate_classes(true, scores, offsets, names=names, seed=1, resamples=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * rows  # 460, where all columns are in double precision at once


def test_digests_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(1).random((10, 3)).astype(np.float32)
    found = _Digests()
    for start in range(0, 10, 4):
        found.add({"a": values[start : start + 4]})
    assert found.hexadecimal == {"a": array_hash(values)}
