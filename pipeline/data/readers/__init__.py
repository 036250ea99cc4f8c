"""Open source files: one module for each schema, and what all of them may rely on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.data.companions import names_of
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Entries, Experiment


@contextmanager
def opened(path: Path, experiment: Experiment) -> Iterator[Entries]:
    """Open `path` as a file of `experiment`.

    Raises:
        BadInput: No reader takes the file, or it cannot be read as what its name says.
    """
    suffix = suffix_of(path, experiment)
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}). Check the path and its permissions."
        raise BadInput(message) from error
    if empty:
        message = f"{path}: the file is empty. Fetch or make it again."
        raise BadInput(message)
    with experiment.opener(suffix)(path) as entries:
        if not entries.count:
            message = f"{path}: holds no events. Leave the file out, or make it again."
            raise BadInput(message)
        yield entries


def suffix_of(path: Path, experiment: Experiment) -> str:
    """Return which of the experiment's endings `path` has: its own name, else that of its target.

    Raises:
        BadInput: None of them.
    """
    for each in names_of(path):
        found = [suffix for suffix in experiment.readers if each.name.endswith(suffix)]
        if found:
            return max(found, key=len)
    known = ", ".join(experiment.readers)
    message = f"{path}: no reader of {experiment.name} takes this file; known endings: {known}."
    raise BadInput(message)
