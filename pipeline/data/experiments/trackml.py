"""TrackML: simulated hits of a tracking detector, one event in some csv files (arXiv:1904.06778).

`event*-hits.csv` holds hit_id, x, y, z (mm), volume_id, layer_id, module_id. Beside it may lie
`-truth.csv` (hit_id, particle_id, tpx, tpy in GeV/c, mostly weight, …) and `-particles.csv`
(particle_id, px, py, …), whose momentum, at production, is preferred. `-cells.csv` is not read.
Particle ids reach 10^18, which no float holds.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.companions import companion
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Mask
from pipeline.data.experiment import Column, Entries, Experiment, Rejected
from pipeline.data.preparation.coordinates import cylindrical

HITS = "-hits.csv"
TRUTH = "-truth.csv"
PARTICLES = "-particles.csv"
POSITION = ("x", "y", "z")
MODULE = {"volume_id": "int16", "layer_id": "int16", "module_id": "int16"}
# The columns that are read of each file, with the types pyarrow shall give them.
SCHEMAS: dict[str, dict[str, str]] = {
    HITS: {"hit_id": "int64", **dict.fromkeys(POSITION, "float32"), **MODULE},
    TRUTH: {
        "hit_id": "int64",
        "particle_id": "int64",
        **dict.fromkeys(("tpx", "tpy", "weight"), "float32"),
    },
    PARTICLES: {"particle_id": "int64", **dict.fromkeys(("px", "py"), "float32")},
}
OPTIONAL = frozenset({"weight"})  # the challenge's; other files of this schema lack it
FLOAT_ID = re.compile(r"to int64: invalid value '[-+\d]*[.eE]")

ENVELOPE = "the detector of arXiv:1904.06778, rounded outwards"
COLUMNS = (
    Column(name="eta", unit="1", offset=-5.0, scale=10.0, provenance=ENVELOPE),
    Column(name="phi", unit="rad", offset=-np.pi, scale=2 * np.pi, provenance="a full turn"),
    Column(name="r", unit="mm", offset=0.0, scale=1100.0, provenance=ENVELOPE),
)
Table = Mapping[str, Array]


def companions(path: str) -> tuple[str, ...]:
    """Return the files of truth that may lie beside the hits `path`."""
    stem = PurePosixPath(path).name.removesuffix(HITS)
    return (stem + TRUTH, stem + PARTICLES)


@contextlib.contextmanager
def open_trackml(path: Path) -> Iterator[Entries]:
    """Open the event whose hits are in `path`; hits without a position are dropped and counted.

    Raises:
        BadInput: A file is no csv of these columns, or truth and hits do not belong together.
    """
    truth, particles = (companion(path, companions, number) for number in range(2))
    hits = _table(path, SCHEMAS[HITS])
    points = np.column_stack([hits[name] for name in POSITION])
    lost = np.count_nonzero(np.isnan(points), axis=1) > 0
    labels = {name: hits[name] for name in MODULE}
    if truth is not None:
        labels |= _truth(path, hits["hit_id"], truth, particles)
    event = Events(
        source=str(path),
        columns=POSITION,
        points=points[~lost],
        offsets=np.array([0, np.count_nonzero(~lost)]),
        event_id=np.zeros(1, np.int64),
        per_point={name: values[~lost] for name, values in labels.items()},
    )

    def read(start: int, stop: int) -> tuple[Events, Rejected]:
        counted = int(lost.sum()) if start < stop else 0
        return event.slice(start, stop), {"nan_coordinates": counted}

    yield Entries(1, read)


def _truth(path: Path, hit_id: Array, truths: Path, particles: Path | None) -> Table:
    """Return what is known of the particles that made the hits `hit_id` (P) of `path`.

    Raises:
        BadInput: A hit has no truth, or there are two hits or truths of one id.
    """
    truth = _table(truths, SCHEMAS[TRUTH])
    row = _rows(hit_id, truth["hit_id"])
    if np.any(row < 0) or len(truth["hit_id"]) != len(hit_id) or len(np.unique(row)) != len(hit_id):
        message = (
            f"{truths}: {len(truth['hit_id'])} truths for the {len(hit_id)} hits of "
            f"{path.name}, not one each by hit_id. Take files of the same event."
        )
        raise BadInput(message)
    particle_id = truth["particle_id"][row]
    pt_gev = np.hypot(truth["tpx"], truth["tpy"])[row]
    if particles is not None:
        table = _table(particles, SCHEMAS[PARTICLES])
        owner = _rows(particle_id, table["particle_id"])
        known: Mask = owner >= 0
        pt_gev[known] = np.hypot(table["px"], table["py"])[owner[known]]
    noise = particle_id == 0
    pt_gev[noise] = 0  # the release has no particle 0, and 1e9 as its momentum
    weight = {"weight": truth["weight"][row]} if "weight" in truth else {}
    return {"track_id": particle_id, **weight, "pt_gev": pt_gev, "noise": noise}


def _rows(ours: Array, theirs: Array) -> Array:
    """Return for each id of `ours` the first row of `theirs` with it, or -1."""
    from pipeline.data.readers.matching import Keys, match

    left, right = (Keys(np.zeros(len(each), np.int64), each) for each in (ours, theirs))
    return match(left, right)


def _table(path: Path, schema: Mapping[str, str]) -> Table:
    """Return the columns of `schema` in the csv file `path`, each in its type.

    Raises:
        BadInput: The file is no csv, lacks a column, or a value does not fit its type.
    """
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as stream:
        header = stream.readline().decode("latin-1").strip().split(",")
    wanted = [name for name in schema if name not in OPTIONAL or name in header]
    convert = csv.ConvertOptions(
        column_types={name: pa.type_for_alias(schema[name]) for name in wanted},
        include_columns=wanted,
        null_values=["", "nan", "NaN"],
    )
    try:
        table = csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise BadInput(_fault(path, str(error).partition("\n")[0])) from error
    for name in wanted:
        if table[name].null_count and name not in POSITION:
            raise BadInput(_fault(path, f"{name} is empty in {table[name].null_count} rows"))
    return {name: table[name].to_numpy() for name in wanted}


def _fault(path: Path, reason: str) -> str:
    """Return the message about the file `path`, another one for ids that were floats."""
    if FLOAT_ID.search(reason):
        return (
            f"{path}: an id went through a float, which lost its last digits ({reason}). "
            "Ids beyond 2^53 must be written as whole numbers: make the file again from its source."
        )
    return f"{path}: not a whole csv file of TrackML ({reason}). Fetch or make it again."


TRACKML = Experiment(
    name="trackml",
    title="TrackML challenge: hits, truth and particles in csv, one event a set",
    columns=COLUMNS,
    readers={HITS: "pipeline.data.experiments.trackml:open_trackml"},
    companions=companions,
    transform=cylindrical,
    order="REP",
    axes=("eta", "phi", "r"),
)
