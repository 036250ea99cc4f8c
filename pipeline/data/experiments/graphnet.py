"""IceCube events as GraphNeT writes them: SQLite databases and parquet files."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.data.experiment import Column, Experiment
from pipeline.data.preparation.pulses import select_pulses

EVENT = "event_no"
TRUTH_TABLES = ("truth", "mc_truth")
PROVENANCE = "GraphNeT's detector class IceCube86"
Names = tuple[str, ...]
UNKNOWN = frozenset({"energy", "azimuth", "zenith"})  # NaN, as in files of measured data


@dataclass(frozen=True)
class Layout:
    """What files call the things we read, by our names; of several names the first that is there.

    All of `pulses` must be there. `integers` may be, with their types; `truth` may be: numbers of
    the whole event.
    """

    what: str
    pulses: dict[str, Names]
    integers: dict[str, tuple[Names, str]]
    truth: dict[str, Names]


ICECUBE86 = Layout(
    what="GraphNeT's files of IceCube: dom_x, dom_y, dom_z, dom_time, charge of each pulse",
    pulses={
        "x": ("dom_x",),
        "y": ("dom_y",),
        "z": ("dom_z",),
        "time": ("dom_time",),
        "charge": ("charge",),
    },
    integers={
        "string": (("string",), "int32"),
        "dom_number": (("dom_number",), "int16"),
        "pmt_number": (("pmt_number",), "int16"),
        "dom_type": (("dom_type",), "int16"),
        "sensor_id": (("sensor_id",), "int32"),
        "hlc": (("hlc",), "int8"),
        "is_bad_dom": (("is_bad_dom",), "int8"),
        "is_bright_dom": (("is_bright_dom",), "int8"),
        "is_errata_dom": (("is_errata_dom",), "int8"),
        "is_saturated_dom": (("is_saturated_dom",), "int8"),
    },
    truth={each: (each,) for each in ("energy", "azimuth", "zenith", "pid")},
)


def axis(name: str, scale: float, provenance: str) -> Column:
    """Return the coordinate `name`, normalised by `scale` alone."""
    return Column(name=name, unit="m", offset=0.0, scale=scale, provenance=provenance)


def companions(path: str) -> tuple[str, ...]:
    """Return the truth files that may belong to the pulses `<table>/<table>_<n>.parquet`."""
    file = PurePosixPath(path)
    if not file.name.endswith(".parquet"):
        return ()
    number = file.stem.rpartition("_")[2]
    return tuple(f"../{table}/{table}_{number}.parquet" for table in TRUTH_TABLES)


GRAPHNET = Experiment(
    name="graphnet",
    title="IceCube pulses and truth in GraphNeT's SQLite and parquet files",
    columns=(
        *(axis(name, 500.0, PROVENANCE) for name in "xyz"),
        Column(name="time", unit="ns", offset=1e4, scale=3e4, provenance=PROVENANCE),
        Column(
            name="charge",
            unit="p.e.",
            offset=0.0,
            scale=1.0,
            provenance="as it is: GraphNeT's models take its logarithm",
        ),
    ),
    readers={
        ".db": "pipeline.data.readers.graphnet_sqlite:open_icecube",
        ".parquet": "pipeline.data.readers.graphnet_parquet:open_icecube",
    },
    companions=companions,
    order="time",
    limit=select_pulses,
    may_be_missing=UNKNOWN,
    options=frozenset({"pulses"}),
)
