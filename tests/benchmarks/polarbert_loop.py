"""Prepare a Kaggle batch one event after the other with pandas, as PolarBERT is described to do.

Written from the description alone: for each event its rows of the batch, 127 of them chosen (those
that are not auxiliary first, the rest by lot), sorted by time, scaled, into one array.
"""

import numpy as np
import pandas as pd

LENGTH = 127


def preprocess(batch_path, meta_path, geometry_path):
    """Return (events, 127, 4) float32: time, charge, auxiliary, sensor; 0 where there is none."""
    batch = pd.read_parquet(batch_path).reset_index()
    meta = pd.read_parquet(meta_path)
    meta = meta[meta.batch_id == int(batch_path.stem.removeprefix("batch_"))]
    sensors = len(pd.read_csv(geometry_path))
    assert batch.sensor_id.max() < sensors
    rng = np.random.default_rng(0)
    made = np.zeros((len(meta), LENGTH, 4), np.float32)
    for place, event in enumerate(meta.itertuples()):
        pulses = batch.iloc[event.first_pulse_index : event.last_pulse_index + 1]
        chosen = _chosen(pulses, rng).sort_values("time")
        made[place, : len(chosen), 0] = (chosen.time - 1e4) / 3e4
        made[place, : len(chosen), 1] = np.log10(chosen.charge) / 3
        made[place, : len(chosen), 2] = chosen.auxiliary - 0.5
        made[place, : len(chosen), 3] = chosen.sensor_id + 1
    return made


def _chosen(pulses, rng):
    """Return at most 127 of the rows `pulses`."""
    if len(pulses) <= LENGTH:
        return pulses
    first, rest = pulses[~pulses.auxiliary], pulses[pulses.auxiliary]
    if len(first) >= LENGTH:
        return first.iloc[rng.permutation(len(first))[:LENGTH]]
    return pd.concat([first, rest.iloc[rng.permutation(len(rest))[: LENGTH - len(first)]]])
