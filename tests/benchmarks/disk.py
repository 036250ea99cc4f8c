"""Bytes of a store against those of the files it was made of; nothing is lost on the way."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.data.errors import BadInput
from pipeline.data.experiments import experiment
from tests.benchmarks import jetclass_file, samples, staging
from tests.benchmarks.contest import Line, weighed

AIM = "≤ 0.8"
NO_LIMIT = 1_000_000_000


def lines(folder: Path, *, scale: float) -> Iterator[Line]:
    """Yield a line for each format of a source; every point and every value of it is stored."""
    source = samples.npz(folder / "bytes", round(1000 * scale))
    yield _line(folder, "sPHENIX npz", source, order="none")
    batch = staging.kaggle(folder / "bytes-kaggle", round(1500 * scale))
    yield _line(folder, "IceCube parquet", batch, experiment="icecube")
    try:
        experiment("jetclass")
    except BadInput:
        return
    jets = jetclass_file.write(folder / "bytes-jets" / "jets.root", round(20_000 * scale))
    yield _line(folder, "JetClass ROOT", jets, experiment="jetclass")


def _line(folder: Path, name: str, source: Path, **changes) -> Line:
    place = folder / f"store-{source.stem}"
    store = samples.stage(place, samples.task(place, source, max_points=NO_LIMIT, **changes))
    return weighed(f"bytes on disk, {name}", size(store.path), "the source", size(source), aim=AIM)


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
