"""Whether a campaign tests models on events that they are trained on, before anything is submitted.

What is staged is compared event by event, by content; what is not yet, by the paths of its files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import (
    CHAINED,
    EvaluateTask,
    FeaturesTask,
    FinetuneTask,
    PretrainTask,
    ProbeTask,
    StageTask,
    Task,
    TokenizeTask,
)
from pipeline.catalog import DeclarationError
from pipeline.data.overlap import ADVICE
from pipeline.data.training_data import gathered
from pipeline.planning.compared import Split, Stores
from pipeline.run import Run


@dataclass(frozen=True)
class Seen:
    """What the weights of one task have seen: splits of stores of the campaign, by task.

    `folders` are weights from elsewhere, whose own records say what they were trained on.
    """

    splits: frozenset[tuple[str, Split]] = frozenset()
    folders: frozenset[Path] = frozenset()

    def __or__(self, other: "Seen") -> "Seen":
        return Seen(self.splits | other.splits, self.folders | other.folders)


@dataclass(frozen=True)
class Finding:
    """Events that are tested on and trained on, in words, and the tasks that do so."""

    sentence: str
    trained: tuple[str, ...]
    tested: tuple[str, ...]

    def __str__(self) -> str:
        """Return the finding on one line."""
        return f"{self.sentence}; tested by {_some(self.tested)}"


def check(tasks: Sequence[Task], run: Run, *, allow: bool) -> tuple[list[Finding], list[str]]:
    """Return the overlaps that a campaign allows, and the weights of which nothing is known.

    Raises:
        DeclarationError: There are overlaps, and it does not `allow` them.
        BadInput: A store or a training is of an older version.
    """
    for task in tasks:
        if isinstance(task, CHAINED) and _origins(task)[0] and run.task(task.key).is_done:
            gathered(run.task(task.key).path)
    found = findings(tasks, run)
    refuse(found, allow=allow)
    return found, unknown(tasks, run)


def refuse(found: Sequence[Finding], *, allow: bool) -> None:
    """Check that nothing was found, or that the campaign allows it.

    Raises:
        DeclarationError: Something was found.
    """
    if found and not allow:
        lines = "\n".join(f"  - {each}" for each in found)
        message = f"Models are tested on events that they are trained on:\n{lines}\n{ADVICE}"
        raise DeclarationError(message)


def findings(tasks: Sequence[Task], run: Run, of: str = "") -> list[Finding]:
    """Return the overlaps of what tasks test with what their models see, each pair of splits once.

    With `of` only those of models that come from the training of this key.
    """
    seen, stores = lineage(tasks, run), Stores(tasks)
    pairs: dict[tuple[Split | Path, Split], tuple[list[str], list[str]]] = {}
    for key, tested in _tests(tasks):
        for task, trained in sorted(seen[key].splits):
            if of in ("", task):
                is_gone = run.task(task).is_done and stores.manifest(trained[0]) is None
                source = run.task(task).path if is_gone else trained
                _note(pairs, (source, tested), task, key)
        for folder in sorted(seen[key].folders):
            if not of or folder in seen[of].folders:
                _note(pairs, (folder, tested), str(folder), key)
    return [
        Finding(sentence, tuple(trained), tuple(testing))
        for (source, tested), (trained, testing) in pairs.items()
        for sentence in stores.compared(source, tested, _some(trained))
    ]


def unknown(tasks: Sequence[Task], run: Run) -> list[str]:
    """Return the weights that are tested, and of which nobody has said what they saw."""
    seen = lineage(tasks, run)
    folders = {folder for key, _ in _tests(tasks) for folder in seen[key].folders}
    return list(dict.fromkeys(name for each in sorted(folders) for name in gathered(each).unknown))


def _note(
    pairs: dict[tuple[Split | Path, Split], tuple[list[str], list[str]]],
    pair: tuple[Split | Path, Split],
    task: str,
    key: str,
) -> None:
    trained, testing = pairs.setdefault(pair, ([], []))
    trained += [task] if task not in trained else []
    testing += [key] if key not in testing else []


def _some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many others there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def _tests(tasks: Iterable[Task]) -> Iterator[tuple[str, Split]]:
    """Yield each task that tests or validates, with the events that it does so on."""
    for task in tasks:
        if isinstance(task, EvaluateTask | ProbeTask):
            yield task.key, (task.store, task.split)
        elif isinstance(task, PretrainTask | FinetuneTask) and task.validation is not None:
            yield task.key, (task.store, task.validation.split)


def lineage(tasks: Sequence[Task], run: Run) -> dict[str, Seen]:
    """Return what the weights that each task makes or tests have seen.

    Tokens and features have seen what the weights that made them saw.
    """
    seen: dict[str, Seen] = {}
    in_folder = {run.task(task.key).path: task.key for task in tasks}
    makers: dict[Path, str] = {}
    for task in tasks:  # each after those it needs
        trained_on, folders, store = _origins(task)
        total = Seen(frozenset({(task.key, trained_on)} if trained_on is not None else ()))
        for folder in folders:
            key = in_folder.get(folder)
            total |= seen[key] if key is not None else Seen(folders=frozenset({folder}))
        if store in makers:
            total |= seen[makers[store]]
        if isinstance(task, StageTask | TokenizeTask | FeaturesTask):
            makers[task.store] = task.key
        seen[task.key] = total
    return seen


def _origins(task: Task) -> tuple[Split | None, Sequence[Path], Path | None]:
    """Return what a task trains on, the folders whose weights it takes, and the store it reads."""
    match task:
        case EvaluateTask():
            origins: tuple[Split | None, list[Path | None], Path | None]
            origins = None, [task.finetuned], task.store
        case ProbeTask():
            origins = None, [task.pretrained], task.store
        case FeaturesTask():
            origins = None, [task.backbone], task.source
        case FinetuneTask():
            origins = (task.store, task.split), [task.backbone], task.store
        case PretrainTask():
            weights = Path(task.model.weights).absolute() if task.model.weights else None
            trunk = task.trunk.folder if task.trunk is not None else None
            origins = (task.store, task.split), [weights, trunk], task.store
        case TokenizeTask() if task.model.parameters().trained:
            trained_on = (task.jets, task.split) if task.trained is None else None
            origins = trained_on, [task.trained], task.jets
        case _:
            origins = None, [], None
    trained_on, folders, store = origins
    return trained_on, [each for each in folders if each is not None], store
