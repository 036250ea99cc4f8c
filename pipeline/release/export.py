"""A trained model as a folder for others: weights, configuration and model card."""

import hashlib
import json
import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

from pipeline import records
from pipeline.campaign import (
    CHAINED,
    Campaign,
    FinetuneTask,
    PretrainTask,
    TokenizeTask,
    model_folder,
)
from pipeline.campaign.model_folder import (
    CARD,
    HUB,
    OURS,
    WEIGHTS,
    ModelFolder,
    SourceFiles,
    StoredWeights,
)
from pipeline.catalog import DeclarationError
from pipeline.data import training_data
from pipeline.data.store import BINS
from pipeline.data.store.tokens import TOKENIZER
from pipeline.data.store.tokens import WEIGHTS as TOKENIZER_WEIGHTS
from pipeline.outcome import RunError
from pipeline.release import source_files
from pipeline.release.card import Named, card
from pipeline.run import Run, TaskFolder
from pipeline.writing import new_folder

Trained = TokenizeTask | PretrainTask | FinetuneTask


class ExportError(RunError):
    """There is nothing to export, or its target is in use; the message says what to do."""

    outcome = "error"


def export(
    campaign: Campaign,
    run: Run,
    key: str,
    to: Path,
    *,
    licence: str = "other",
    hub: bool = False,
    force: bool = False,
) -> Path:
    """Write the model that the task `key` trained to the folder `to`, whole or not at all.

    The card names the `licence`. For the Hugging Face `hub` the files have the names that it knows.

    Raises:
        DeclarationError: The campaign has no training of that key.
        ExportError: It is not done, its weights are not those of its result, or `to` holds files
            and is not to be replaced (`force`).
    """
    tasks = campaign.tasks(run)
    task = _named(key, [each for each in tasks if isinstance(each, CHAINED)])
    folder = run.task(key)
    result = records.read(folder.result, records.Trained) if folder.is_done else None
    if result is None:
        message = f"{folder.path}: not done, so there is nothing to export. See: cosmotron status"
        raise ExportError(message)
    if not result.weights_sha256:
        message = f"{key}: a {task.model.family} tokenizer has no weights."
        raise ExportError(message)
    if to.exists() and (not to.is_dir() or any(to.iterdir())) and not force:
        message = f"{to}: not empty. Name another folder, or replace it with --force."
        raise ExportError(message)
    with new_folder(to, replaces=force) as made:
        _write(task, campaign, run, result, made, Named(HUB if hub else OURS, licence))
    return to


def _named(key: str, trainings: list[Trained]) -> Trained:
    """Return the training `key`.

    Raises:
        DeclarationError: There is none.
    """
    known = {each.key: each for each in trainings}
    if key in known:
        return known[key]
    near = get_close_matches(key, known, 1)
    meant = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known) or '(none)'}."
    message = f"No training {key!r} in this campaign. {meant}"
    raise DeclarationError(message)


def _write(
    task: Trained, campaign: Campaign, run: Run, result: records.Trained, to: Path, named: Named
) -> None:
    """Write the files of a model to the empty folder `to`.

    Raises:
        ExportError: The weights are not those that `result` speaks of.
        BadInput: An older version trained them.
    """
    source, tasks = run.task(task.key).path / WEIGHTS, campaign.tasks(run)
    if not source.is_file():
        message = f"{source}: not there. Remove {TaskFolder(source.parent).done} and run again."
        raise ExportError(message)
    if weights_hash(source) != result.weights_sha256:
        message = f"{source}: not the weights that {source.with_name('result.json')} speaks of."
        raise ExportError(message)
    shutil.copyfile(source, to / named.files.weights)
    content = ModelFolder(
        model=task.model.model_copy(update={"weights": ""}),
        files=_files(task, tasks, campaign, to),
        weights=StoredWeights(sha256=result.weights_sha256),
        **_of_head(task),
    )
    model_folder.write(to, content, named.files)
    training_data.write(to, training_data.gathered(source.parent))
    (to / CARD).write_text(card(task, tasks, run, result, named, content.files))


def _of_head(task: Trained) -> dict[str, Any]:
    """Return what decides the modules of a fine-tuned model; nothing of another."""
    if not isinstance(task, FinetuneTask):
        return {}
    return {name: getattr(task, name) for name in ("head", "mode", "lora_rank", "cached")}


def _files(task: Trained, tasks: list[Any], campaign: Campaign, to: Path) -> SourceFiles | None:
    """Return how files are read for the model.

    Their voxel bins, and the tokenizer that makes tokens of them, are copied to the folder `to`.
    """
    found = source_files.of_training(task, tasks, campaign)
    if found is None:
        return None
    if found.bins:
        shutil.copyfile(found.bins, to / BINS)
        found = found.model_copy(update={"bins": BINS})
    if found.tokenizer:
        for name in (TOKENIZER, TOKENIZER_WEIGHTS):
            shutil.copyfile(Path(found.tokenizer).with_name(name), to / name)
        found = found.model_copy(update={"tokenizer": TOKENIZER})
    return found


def weights_hash(path: Path) -> str:
    """Return the SHA-256 of names and values in a safetensors file, as a training's result has it.

    Raises:
        ExportError: This is no such file, or it ends too soon.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
            header.pop("__metadata__", None)
            for name in sorted(header):
                digest.update(name.encode())
                begin, end = header[name]["data_offsets"]
                stream.seek(8 + size + begin)
                _update(digest, stream, end - begin)
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        message = f"{path}: no whole safetensors file ({type(error).__name__})."
        raise ExportError(message) from error
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", stream: BinaryIO, count: int) -> None:
    """Feed `count` bytes of `stream` to `digest`.

    Raises:
        ValueError: There are not as many.
    """
    while count:
        block = stream.read(min(count, 1 << 24))
        if not block:
            message = "too short"
            raise ValueError(message)
        digest.update(block)
        count -= len(block)
