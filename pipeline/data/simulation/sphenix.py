"""Sample files of sPHENIX: TPCpp-10M's npz, or the tree maker's ROOT."""

from pathlib import Path

import numpy as np

from pipeline.campaign import Simulation
from pipeline.data.events import Events
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sample import make
from pipeline.data.simulation.simulator import Made, Simulator
from pipeline.data.simulation.sphenix_root import write_root


def write(path: Path, simulation: Simulation, number: int, seed: int) -> Made:
    """Write collisions as `path` in the format of `simulation`."""
    del number
    sample = make(simulation.events_per_file, seed=seed, source=str(path))
    if simulation.format == "npz":
        files = write_npz(path, sample.events, labelled=simulation.labelled)
    else:
        write_root(path, sample)
        files = (path,)
    events = sample.events
    return Made(files, len(events), len(events.points), {"tracks": track_count(events)})


def track_count(events: Events) -> int:
    """Return the number of true tracks: distinct ids other than noise, event by event."""
    track_id = events.per_point["track_id"]
    pairs = np.stack([events.event, track_id])[:, track_id != 0]
    return int(np.unique(pairs, axis=1).shape[1])


SIMULATOR = Simulator(write)
