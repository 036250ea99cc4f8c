"""Jets as padded four-vectors in an npz file, which is how many share small sets of jets.

`vectors` (E, 4, M) holds px, py, pz and E in GeV of the particles, as Particle Transformer takes
them; one of no energy is padding. `labels` (E) is the class of each jet, and may be absent. Axes: E
jets, M particles at most.
"""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.readers.exact import exact
from pipeline.data.readers.npz import CHECKSUM, Rows, arrays, names_in, whole
from pipeline.data.readers.omnilearned_h5 import from_four_vectors

VECTORS, LABELS = "vectors", "labels"
LAYOUT = "vectors (jets, 4, particles) of px, py, pz, E, and labels (jets)"


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[Entries]:
    """Open `path`; jets with NaN or infinity, or without a particle, are rejected.

    Raises:
        BadInput: The file is no npz, has no `vectors`, or its arrays do not belong together.
    """
    with contextlib.ExitStack() as stack:
        (vectors,) = stack.enter_context(arrays(path, VECTORS, layout=LAYOUT))
        labels: Rows | None = None
        if _has_labels(path):
            (labels,) = stack.enter_context(arrays(path, LABELS, layout=LAYOUT))
        _check(path, vectors, labels)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            label = np.zeros(stop - start, np.int32)
            if labels is not None:
                label = exact(path, LABELS, labels.read(start, stop), np.int32)
            return _jets(path, vectors.read(start, stop), label, start, labelled=labels is not None)

        yield Entries(len(vectors), read, checksum=CHECKSUM)


def _has_labels(path: Path) -> bool:
    with whole(path), zipfile.ZipFile(path) as archive:
        return f"{LABELS}.npy" in names_in(archive)


def _check(path: Path, vectors: Rows, labels: Rows | None) -> None:
    """Check that there are four numbers of each particle, and a label of each jet.

    Raises:
        BadInput: There are not.
    """
    if len(vectors.shape) != 3 or vectors.shape[1] != 4 or vectors.dtype.kind != "f":
        message = f"{path}: vectors is {vectors.dtype} {vectors.shape}; expected {LAYOUT}."
        raise BadInput(message)
    if labels is not None and labels.shape != vectors.shape[:1]:
        message = (
            f"{path}: labels has shape {labels.shape}; expected {vectors.shape[:1]}, one of each "
            "jet. Make the file again."
        )
        raise BadInput(message)


def _jets(
    path: Path, padded: Array, label: Array, start: int, *, labelled: bool
) -> tuple[Events, Rejected]:
    """Return the jets of `padded` (E, 4, M), the first of which is jet `start` of the file."""
    finite = np.asarray(np.isfinite(padded).all(axis=(1, 2)))
    there = finite[:, np.newaxis] & (padded[:, 3] > 0)
    sizes = there.sum(axis=1)
    good = finite & (sizes > 0)
    events = from_four_vectors(
        padded.swapaxes(1, 2)[there], sizes[good], label[good], source=str(path)
    )
    events = Events(
        source=events.source,
        columns=events.columns,
        points=events.points,
        offsets=events.offsets,
        event_id=start + np.flatnonzero(good),
        per_event={k: v for k, v in events.per_event.items() if labelled or k != "label"},
    )
    return events, {
        "not_finite": int((~finite).sum()),
        "no_particle": int((finite & (sizes == 0)).sum()),
    }
