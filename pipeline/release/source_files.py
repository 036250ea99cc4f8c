"""How files must be read for a model that a run trained: as the files of its dataset were."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.campaign import (
    Campaign,
    Dataset,
    FeaturesTask,
    FetchTask,
    FinetuneTask,
    PretrainTask,
    StageTask,
    TokenizeTask,
)
from pipeline.campaign.model_folder import SourceFiles
from pipeline.data.experiments import experiment_of
from pipeline.data.store import BINS, read_manifest
from pipeline.data.store.tokens import TOKENIZER


def of_training(
    task: TokenizeTask | PretrainTask | FinetuneTask, tasks: Sequence[Any], campaign: Campaign
) -> SourceFiles | None:
    """Return how files are read for the model of `task`, None where the campaign does not say.

    Raises:
        BadInput: The store of its events is gone or damaged, or its experiment unknown.
    """
    store = task.jets if isinstance(task, TokenizeTask) else task.store
    features = {each.store: each for each in tasks if isinstance(each, FeaturesTask)}
    while store in features:
        store = features[store].source
    store, tokenizer = _jets(store, tasks)
    dataset = _dataset(store, tasks, campaign)
    if dataset is None:
        return None
    manifest = read_manifest(store)
    kind = experiment_of(dataset)
    bins = store / BINS
    return SourceFiles(
        experiment=dataset.experiment,
        reader=dataset.reader,
        event_key=dataset.event_key or kind.event_key,
        order=manifest.order,
        neighbours=_neighbours(task),
        min_points=manifest.min_points,
        max_points=manifest.max_points,
        bins=str(bins.absolute()) if BINS in manifest.files else "",
        tokenizer=tokenizer,
    )


def _jets(store: Path, tasks: Sequence[Any]) -> tuple[Path, str]:
    """Return the store of the jets behind tokens, and the tokenizer; of others itself, and ""."""
    makers = (each for each in tasks if isinstance(each, TokenizeTask) and each.store == store)
    tokens = next(makers, None)
    return (store, "") if tokens is None else (tokens.jets, str((store / TOKENIZER).absolute()))


def _neighbours(task: TokenizeTask | PretrainTask | FinetuneTask) -> int:
    """Return how many neighbours of each point the model reads."""
    if isinstance(task, TokenizeTask):
        return 0
    reads = task.model.reads() if isinstance(task, PretrainTask) else task.model.reads_downstream()
    return reads.neighbours


def _dataset(store: Path, tasks: Sequence[Any], campaign: Campaign) -> Dataset | None:
    """Return the dataset whose events `store` holds, None where the campaign has none of it."""
    for each in tasks:
        if isinstance(each, StageTask) and each.store == store:
            return each.dataset
        if isinstance(each, FetchTask) and each.store == store:
            return campaign.datasets.get(store.stem)
    shared = (each for each in campaign.datasets.values() if each.store)
    return next((each for each in shared if Path(each.store).absolute() == store.absolute()), None)
