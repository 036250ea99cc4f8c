"""Stores that a campaign takes as they are, held to their manifests and to what it says of them.

Nothing is written into such a store, whose folder may be read-only; several campaigns may read it
at once. Here its manifest is read and every file looked up; a reader checks the content as it goes.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.campaign import Campaign, Dataset, Task
from pipeline.campaign.contents import OF_STORES
from pipeline.catalog import DeclarationError
from pipeline.data.errors import BadInput
from pipeline.data.experiments import experiment
from pipeline.data.fetch import manifest_at
from pipeline.data.store import Store
from pipeline.data.store.manifest import MANIFEST, Manifest
from pipeline.planning.products import of_store
from pipeline.run import Run

# What a dataset may say of a store that is staged already, by the name that the manifest has too.
HELD = ("neighbours", "order", "min_points", "max_points", "fractions", "event_key")


def check(campaign: Campaign, tasks: Iterable[Task], run: Run) -> None:
    """Check the stores that are given, and that some of `tasks` read or fetch.

    Of one at an address that is not in `run` yet, the manifest there is checked.

    Raises:
        DeclarationError: One is not there, not whole, or not what its dataset says; a line each.
    """
    readers: dict[Path, list[Task]] = {}
    for task in tasks:
        for path in {getattr(task, key) for key in OF_STORES if hasattr(task, key)}:
            readers.setdefault(path, []).append(task)
    problems = [
        f"datasets.{name}.store: {problem}"
        for name, dataset in campaign.datasets.items()
        if dataset.store and campaign.store(run, name) in readers
        for problem in _problems(campaign, name, run, readers[campaign.store(run, name)])
    ]
    if problems:
        raise DeclarationError("\n".join(problems))


def same_at(address: str, store: Path) -> bool:
    """Return whether the manifest at `address` is that of `store`; not if it cannot be read."""
    try:
        return _read_at(address)[1] == (store / MANIFEST).read_text()
    except (BadInput, OSError):
        return False


def _read_at(address: str) -> tuple[Manifest, str]:
    with tempfile.TemporaryDirectory() as folder:
        return manifest_at(address, Path(folder) / "manifest")


def _problems(campaign: Campaign, name: str, run: Run, readers: Sequence[Task]) -> Iterator[str]:
    """Yield what is wrong with the store of the dataset `name`, for those that read it."""
    dataset, path = campaign.datasets[name], campaign.store(run, name)
    is_there = not dataset.address or (path / MANIFEST).exists()
    try:
        manifest = Store.open(path).manifest if is_there else _read_at(dataset.address)[0]
    except BadInput as error:
        yield str(error)
        return
    missing = [file for file in of_store(path) if not file.exists()] if is_there else []
    if missing:
        more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        yield (
            f"{missing[0]}{more}: missing. The store is not whole: copy it again, and check it "
            f"with cosmotron data verify {path}"
        )
    where = dataset.store
    yield from _otherwise(where, dataset, manifest)
    yield from _lacking(campaign, name, where, manifest)
    yield from _too_few(where, manifest, readers)


def _otherwise(path: str, dataset: Dataset, manifest: Manifest) -> Iterator[str]:
    """Yield what a dataset says of its store that is not so."""
    kind = dataset.experiment
    if ".py:" in kind:
        kind = experiment(kind).name
    if kind != manifest.experiment:
        yield f"{path}: a store of experiment {manifest.experiment!r}, and {kind!r} is declared."
    for key in (key for key in HELD if key in dataset.model_fields_set):
        declared: Any = getattr(dataset, key)
        staged = getattr(manifest, key)
        if declared is not None and declared != staged:
            yield (
                f"{path}: staged with {key} {staged}, and {declared} is declared. Correct it, or "
                "leave it out to take the store as it is."
            )


def _lacking(campaign: Campaign, name: str, path: str, manifest: Manifest) -> Iterator[str]:
    """Yield the models that predict more neighbours than the store has."""
    grid = campaign.pretrain
    for model in grid.models if grid is not None else ():
        wanted = campaign.models[model].reads().neighbours
        if grid is not None and grid.dataset_of(model) == name and wanted > manifest.neighbours:
            yield (
                f"{path}: staged with neighbours {manifest.neighbours}, and models.{model} "
                f"predicts {wanted}. Stage one with --neighbours {wanted}."
            )


def _too_few(path: str, manifest: Manifest, readers: Sequence[Task]) -> Iterator[str]:
    """Yield the splits that are read and not there, and those with too few events, once each."""
    wanted: dict[str, int] = {}
    for task in readers:
        if hasattr(task, "split"):
            events = getattr(task, "labels", None) or getattr(task, "events", None) or 0
            wanted[task.split] = max(wanted.get(task.split, 0), events)
    for split, events in wanted.items():
        if split not in manifest.events:
            yield f"{path}: no split {split!r}; it has {', '.join(manifest.events)}."
        elif events > manifest.events[split]:
            yield f"{path}: split {split!r} has {manifest.events[split]:,} events of {events:,}."
