"""Sample events with their whole truth, in the schemas that experiments really use."""

from pipeline.data.experiment import load_object
from pipeline.data.simulation.simulator import Simulator

SIMULATORS = {
    "icecube": "pipeline.data.simulation.ice:SIMULATOR",
    "sphenix": "pipeline.data.simulation.sphenix:SIMULATOR",
    "jetclass": "pipeline.data.simulation.jetclass:SIMULATOR",
}


def simulator(experiment: str) -> Simulator:
    """Return who makes sample files of `experiment`."""
    found: Simulator = load_object(SIMULATORS[experiment])
    return found
