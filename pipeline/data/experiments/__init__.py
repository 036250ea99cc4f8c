"""The experiments whose files can be staged. A new one is a file here and a line in EXPERIMENTS."""

import difflib

from pipeline.data.errors import BadInput
from pipeline.data.experiment import Experiment, named

EXPERIMENTS = {
    "sphenix": "pipeline.data.experiments.sphenix:SPHENIX",
    "jetclass": "pipeline.data.experiments.jetclass:JETCLASS",
    "jetclass2": "pipeline.data.experiments.jetclass:JETCLASS2",
    "omnilearned": "pipeline.data.experiments.omnilearned:OMNILEARNED",
}


def experiment(name: str) -> Experiment:
    """Return the experiment `name`.

    Raises:
        BadInput: There is none of that name.
    """
    if name not in EXPERIMENTS:
        close = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        advice = f" Did you mean {close[0]!r}?" if close else ""
        message = f"experiment {name!r}: unknown.{advice} Known: {', '.join(EXPERIMENTS)}."
        raise BadInput(message)
    found: Experiment = named(EXPERIMENTS[name])
    return found
