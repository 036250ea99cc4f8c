"""The experiments whose files can be staged. A new one is a file here and a line in EXPERIMENTS.

A custom experiment needs neither: "file.py:NAME" is an `Experiment` in a file from anywhere.
"""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data import custom_code
from pipeline.data.errors import BadInput

if TYPE_CHECKING:
    from pipeline.campaign import Dataset
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

    The campaign has checked that the file of a custom experiment exists.

    Raises:
        BadInput: There is none of that name.
    """
    if name not in EXPERIMENTS and ".py:" not in name:
        close = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        advice = f" Did you mean {close[0]!r}?" if close else ""
        known = ", ".join(EXPERIMENTS)
        message = f"experiment {name!r}: unknown.{advice} Known: {known}; your own is file.py:NAME."
        raise BadInput(message)


def experiment_of(dataset: "Dataset") -> "Experiment":
    """Return the experiment of `dataset`, with the options of its readers that it chose.

    Raises:
        BadInput: There is none of that name, or it has no such option.
    """
    return experiment(dataset.experiment).choosing(dataset.reader)


def experiment(name: str) -> "Experiment":
    """Return the experiment `name`.

    Raises:
        BadInput: There is none of that name, or the user's file has none.
    """
    from pipeline.data.experiment import Experiment, load_object  # loads numpy

    check(name)
    if ".py:" not in name:
        known: Experiment = load_object(EXPERIMENTS[name])
        return known
    file, _, variable = name.rpartition(":")
    found = custom_code.load(Path(file), variable)
    if not isinstance(found, Experiment):
        message = f"{file}: {variable} is no Experiment. See docs/other-disciplines.md."
        raise BadInput(message)
    return found
