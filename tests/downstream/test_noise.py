"""Noise is a flag in the files of every experiment, and two classes for its scores."""

import numpy as np

from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.truth import Truth

OFFSETS = np.array([0, 3, 8])


def scores_of(noise):
    chance = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    predicted = {"probabilities": np.stack([1 - chance, chance], 1)}
    truth = Truth(
        source="made up",
        columns=("x",),
        points=np.zeros((8, 1), np.float32),
        offsets=OFFSETS,
        event_id=np.arange(2),
        per_point={"noise": noise},
    )
    return NoiseTask().scoring().score(predicted, truth, NoiseTask(), 1).scores


def test_flags_are_scored_as_numbers_are():
    flags = np.array([False, True, False, False, True, True, False, True])
    assert scores_of(flags) == scores_of(flags.astype(np.int64))
    assert scores_of(flags)["accuracy"] == 6 / 8
