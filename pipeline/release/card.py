"""The card of a trained model, Hugging Face's README.md, from the run folder."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline import __version__, records
from pipeline.budget.ledger import Ledger
from pipeline.campaign import (
    EvaluateTask,
    FinetuneTask,
    PretrainTask,
    ProbeTask,
    TokenizeTask,
    contents,
)
from pipeline.campaign.model_folder import HUB, Names, SourceFiles
from pipeline.data.experiments import experiment
from pipeline.data.store.manifest import Manifest, read_manifest
from pipeline.records import Evaluated, Probed, Trained
from pipeline.run import Run
from pipeline.writing import read_json

TEMPLATES = Path(__file__).parent / "templates"


class Named(NamedTuple):
    """The names of the files of a model, and that of its licence."""

    files: Names
    licence: str


def card(
    task: TokenizeTask | PretrainTask | FinetuneTask,
    tasks: Sequence[Any],
    run: Run,
    result: Trained,
    named: Named,
    files: SourceFiles | None = None,
) -> str:
    """Return the card of the model that `task` trained, with YAML for the hub at its head.

    The model's files and licence are `named`; `files` says how files of events are read for it,
    None where it reads stores alone.

    Raises:
        BadInput: The store that it was trained on is gone, or damaged.
        LedgerError: The ledger cannot be read.
    """
    path = task.jets if isinstance(task, TokenizeTask) else task.store
    store = read_manifest(path)
    content = {
        "task": task,
        "training": task.training,
        "model": task.model,
        "result": result,
        "store": store,
        "split": task.split,
        "events": _events(task, store),
        **_inputs(task),
        "custom_files": _custom_files(task, files),
        "source": _source(task, files),
        "probed": _probed(task.key, tasks, run),
        "evaluated": _evaluated(task, tasks, run),
        "named": named,
        "is_hub": named.files is HUB,
        "node_hours": node_hours(run, task.key),
        "environment": read_json(run.environment) or {},
        "campaign": run.campaign,
        "today": datetime.now(UTC).date(),
        "version": __version__,
    }
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  # Markdown, not HTML
        keep_trailing_newline=True,
    )
    return templates.get_template("card.md.j2").render(content)


def _inputs(task: TokenizeTask | PretrainTask | FinetuneTask) -> dict[str, Any]:
    """Return what the model reads of an event, and whether it has states to show."""
    if isinstance(task, TokenizeTask):
        columns = ", ".join(task.model.features) if hasattr(task.model, "features") else "all"
        return {"reads": (), "physical": True, "inputs": columns, "tables": (), "embeds": False}
    is_tuned = isinstance(task, FinetuneTask)
    reads = task.model.reads_downstream() if is_tuned else task.model.reads()
    return {
        "reads": () if reads.physical else reads.columns,
        "physical": reads.physical,
        "inputs": ", ".join((*reads.columns, *reads.per_point)),
        "tables": reads.tables,
        "embeds": task.model.takes_heads,
    }


def _custom_files(
    task: TokenizeTask | PretrainTask | FinetuneTask, files: SourceFiles | None
) -> list[str]:
    """Return the names of the makers' own Python files that loading or reading needs."""
    declared = [task.model, getattr(task, "head", None), files]
    dumped = [each.model_dump(mode="json") for each in declared if each is not None]
    return sorted(contents.custom_files(dumped))


def _source(task: TokenizeTask | PretrainTask | FinetuneTask, files: SourceFiles | None) -> str:
    """Return the name of a file or store that the model takes, "" of a tokenizer."""
    if isinstance(task, TokenizeTask):
        return ""
    if files is None or getattr(task, "cached", False):
        return "store.zarr"
    return f"events{next(iter(experiment(files.experiment).readers))}"


def _events(task: TokenizeTask | PretrainTask | FinetuneTask, store: Manifest) -> int:
    """Return how many events the task was trained on."""
    limit = task.labels if isinstance(task, FinetuneTask) else task.events
    return limit or store.events[task.split]


def _probed(key: str, tasks: Sequence[Any], run: Run) -> list[Probed]:
    """Return the results of the probes of the training `key`, on events it never saw."""
    folders = [
        run.task(task.key)
        for task in tasks
        if isinstance(task, ProbeTask) and task.pretrained == run.task(key).path
    ]
    found = [records.read(folder.result, Probed) for folder in folders if folder.is_done]
    return [each for each in found if each is not None]


def _evaluated(
    task: TokenizeTask | PretrainTask | FinetuneTask, tasks: Sequence[Any], run: Run
) -> list[dict[str, Any]]:
    """Return the tests of the model that `task` trained: the store, the split and the scores."""
    if not isinstance(task, FinetuneTask):
        return []
    folder = run.task(task.key).path
    tests = [each for each in tasks if isinstance(each, EvaluateTask) and each.finetuned == folder]
    found = [(each, records.read(run.task(each.key).result, Evaluated)) for each in tests]
    return [
        {
            "store": each.store.stem,
            "split": result.split,
            "events": result.events,
            "metrics": _metrics(task, result),
        }
        for each, result in found
        if result is not None and run.task(each.key).is_done
    ]


def _metrics(task: FinetuneTask, result: Evaluated) -> list[dict[str, Any]]:
    """Return the scores that are numbers, with their titles."""
    titles = task.head.titles(result.scores)
    return [
        {"type": name, "name": titles.get(name, name.replace("_", " ")), "value": value}
        for name, value in result.scores.items()
        if math.isfinite(value)
    ]


def node_hours(run: Run, key: str) -> dict[str, float]:
    """Return the node-hours that the jobs of task `key` were charged, at each site."""
    hours: dict[str, float] = {}
    for each in Ledger(run.ledger).accounts().values():
        if each.task == key:
            hours[each.site] = hours.get(each.site, 0.0) + each.charged_node_hours
    return hours
