"""The experiments whose files can be staged. A new one is a file here and a line in EXPERIMENTS."""

import difflib
from typing import TYPE_CHECKING

from pipeline.data.errors import BadInput

if TYPE_CHECKING:
    from pipeline.data.experiment import Experiment

EXPERIMENTS = {
    "graphnet": "pipeline.data.experiments.graphnet:GRAPHNET",
    "icecube": "pipeline.data.experiments.icecube:ICECUBE",
    "jetclass": "pipeline.data.experiments.jetclass:JETCLASS",
    "jetclass2": "pipeline.data.experiments.jetclass:JETCLASS2",
    "omnilearned": "pipeline.data.experiments.omnilearned:OMNILEARNED",
    "prometheus": "pipeline.data.experiments.prometheus:PROMETHEUS",
    "sphenix": "pipeline.data.experiments.sphenix:SPHENIX",
    "sphenix-positions": "pipeline.data.experiments.sphenix:POSITIONS",
    "star": "pipeline.data.experiments.star:STAR",
    "trackml": "pipeline.data.experiments.trackml:TRACKML",
}


def check(name: str) -> None:
    """Check that there is an experiment `name`, without loading what reads its files.

    Raises:
        BadInput: There is none of that name.
    """
    if name not in EXPERIMENTS:
        close = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        advice = f" Did you mean {close[0]!r}?" if close else ""
        message = f"experiment {name!r}: unknown.{advice} Known: {', '.join(EXPERIMENTS)}."
        raise BadInput(message)


def experiment(name: str) -> "Experiment":
    """Return the experiment `name`.

    Raises:
        BadInput: There is none of that name.
    """
    from pipeline.data.experiment import named  # noqa: PLC0415  # loads numpy

    check(name)
    found: Experiment = named(EXPERIMENTS[name])
    return found
