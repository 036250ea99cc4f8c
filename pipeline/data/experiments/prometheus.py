"""Prometheus: simulated neutrino telescopes, its own parquet files and GraphNeT's conversions."""

from pipeline.data.experiment import Column, Experiment
from pipeline.data.experiments.graphnet import UNKNOWN, Layout, axis, companions
from pipeline.data.preparation.pulses import select_pulses

PROVENANCE = "GraphNeT's detector class WaterDemo81; others differ with the detector's size"
PHOTONS = Layout(
    what="files of Prometheus: sensor_pos_x, sensor_pos_y, sensor_pos_z, t of each photon",
    pulses={
        "x": ("sensor_pos_x",),
        "y": ("sensor_pos_y",),
        "z": ("sensor_pos_z",),
        "time": ("t",),
    },
    integers={
        "string": (("sensor_string_id", "string_id"), "int32"),
        "sensor_id": (("sensor_id",), "int32"),
    },
    truth={
        "energy": ("injection_energy", "initial_state_energy"),
        "azimuth": ("injection_azimuth", "initial_state_azimuth"),
        "zenith": ("injection_zenith", "initial_state_zenith"),
        "pid": ("injection_type", "initial_state_type"),
    },
)
PROMETHEUS = Experiment(
    name="prometheus",
    title="Prometheus photons and truth: its parquet, or GraphNeT's SQLite and parquet",
    columns=(
        *(axis(name, 500.0, PROVENANCE) for name in "xy"),
        axis("z", 2000.0, PROVENANCE),
        Column(name="time", unit="ns", offset=0.0, scale=1.05e4, provenance=PROVENANCE),
    ),
    readers={
        ".db": "pipeline.data.readers.graphnet_sqlite:open_prometheus",
        ".parquet": "pipeline.data.readers.graphnet_parquet:open_prometheus",
    },
    companions=companions,
    order="time",
    limit=select_pulses,
    may_be_missing=UNKNOWN,
    options=frozenset({"pulses"}),
)
