"""Stage whole files, in the schemas of the three experiments, against what others do with them."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.experiments import experiment
from pipeline.data.experiments.icecube import GEOMETRY
from pipeline.data.part import prepared_range
from pipeline.data.preparation.serialise import Preparation
from pipeline.data.readers import opened
from pipeline.data.readers.kaggle_write import meta_of, write_batch, write_geometry, write_meta
from pipeline.data.simulation import ice
from pipeline.data.simulation.ice_array import positions_m
from tests.benchmarks import jetclass_file, polarbert_loop, samples
from tests.benchmarks.contest import Contest, Work
from tests.benchmarks.neighbours import NEIGHBOURS, dense, sorted_points

POLARBERT = "PolarBERT's way: a loop over events, pandas"
UPROOT = "uproot decodes the branches, drops them"


def staged(source: Path, **changes) -> Work:
    """Return the work of staging `source` into a new store, which then goes away."""
    numbers = count()

    def work() -> None:
        place = source.parent / f"staged-{next(numbers)}"
        samples.stage(place, samples.task(place, source, **changes))
        shutil.rmtree(place)

    return work


def npz(folder: Path, *, events: int) -> Contest:
    """Return the contest over one TPCpp-10M file of `events` events."""
    source = samples.npz(folder / "staging", events)
    per_event, copy = "per event: dense distances, np.savez", "np.load and np.savez, no preparation"
    return Contest(
        what=f"stage npz, {NEIGHBOURS} neighbours",
        amount=events,
        unit="events",
        ours=staged(source, neighbours=NEIGHBOURS),
        others={per_event: lambda: _per_event(source), copy: lambda: _copy(source)},
        limits=frozenset({copy}),
        aims={per_event: 10},
    )


def _per_event(source: Path) -> None:
    """Prepare the events as a loader does that keeps nothing: each by itself."""
    with opened(source, experiment("sphenix")) as entries:
        events, normal = sorted_points(entries.read(0, entries.count)[0])
    nearest = dense(normal, events.offsets)
    files = zip(events.offsets[:-1], events.offsets[1:], nearest, strict=True)
    for number, (start, stop, places) in enumerate(files):
        path = source.with_name(f"event-{number}.npz")
        np.savez(path, points=events.points[start:stop], neighbours=places.numpy())


def _copy(source: Path) -> None:
    with np.load(source) as archive:
        np.savez(source.with_name("copy.npz"), data=archive["data"], size=archive["size"])


def icecube(folder: Path, *, events: int) -> Iterator[Contest]:
    """Yield the contests over one Kaggle batch of `events` events: staged, and only prepared."""
    source = kaggle(folder / "kaggle", events)
    kind = experiment("icecube")
    settings = Preparation(kind, "file", max_points=kind.max_points)

    def prepared() -> None:
        with opened(source, kind) as entries:
            prepared_range(settings, entries, 0, entries.count)

    works = {"stage": staged(source, experiment="icecube"), "read and select": prepared}
    beside = source.parents[1] / "train_meta.parquet", source.parents[1] / GEOMETRY
    for name, work in works.items():
        yield Contest(
            what=f"{name} IceCube parquet",
            amount=events,
            unit="events",
            ours=work,
            others={POLARBERT: lambda: polarbert_loop.preprocess(source, *beside)},
            aims={POLARBERT: 20},
        )


def kaggle(folder: Path, events: int) -> Path:
    """Write `events` simulated events as a Kaggle batch with what belongs to it; return it."""
    pulses = ice.make(events, seed=1, source="benchmark")
    path = folder / "train" / "batch_1.parquet"
    write_batch(path, pulses)
    write_meta(folder / "train_meta.parquet", meta_of(pulses, 1))
    write_geometry(folder / GEOMETRY, positions_m())
    return path


def jetclass(folder: Path, *, jets: int) -> Iterator[Contest | str]:
    """Yield the contests over one JetClass file of `jets` jets: staged, and only read."""
    try:
        kind = experiment("jetclass")
    except BadInput:
        yield "stage JetClass ROOT: left out, there is no experiment jetclass yet."
        return
    source = jetclass_file.write(folder / "jetclass" / "jets.root", jets)
    settings = Preparation(kind, "file", max_points=kind.max_points)

    def prepared() -> None:
        with opened(source, kind) as entries:
            prepared_range(settings, entries, 0, entries.count)

    works = {"stage": staged(source, experiment="jetclass"), "read and check": prepared}
    for name, work in works.items():
        yield Contest(
            what=f"{name} JetClass ROOT",
            amount=jets,
            unit="jets",
            ours=work,
            others={UPROOT: lambda: jetclass_file.decode(source)},
            limits=frozenset({UPROOT}),
            aims={UPROOT: 0.8},
        )
