"""Score files with a model that a run fine-tuned: by a program of its own, which knows torch."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from pipeline import records
from pipeline.campaign import Campaign, FeaturesTask, FinetuneTask
from pipeline.catalog import DeclarationError
from pipeline.data.prepared_files import check_files
from pipeline.outcome import RunError, of_code
from pipeline.records import FileProgress, FilesPredicted, PredictRequest
from pipeline.release import source_files
from pipeline.run import Run

PROGRAM = (sys.executable, "-m", "pipeline.training.programs.predict")
STAGES = ("finetune", "evaluate")


class PredictError(RunError):
    """Files cannot be predicted; the message says what to do."""

    def __init__(self, message: str, outcome: str = "error") -> None:
        super().__init__(message)
        self.outcome = outcome


def request(
    campaign: Campaign, run: Run, key: str, files: Sequence[str], to: Path
) -> PredictRequest:
    """Return the request to predict `files` with the model of the task `key`.

    That is a fine-tuning or its evaluation, by its key or by its name alone.

    Raises:
        DeclarationError: The campaign has no such task.
        PredictError: It is not done, or its model does not read files.
        BadInput: The store that it was trained on is gone: it says how files are prepared. Or a
            file comes twice.
    """
    tasks = campaign.tasks(run)
    task = _named(key, [each for each in tasks if isinstance(each, FinetuneTask)])
    folder = run.task(task.key)
    if not folder.is_done:
        message = f"{folder.path}: not done, so it has no weights. See: cosmotron status"
        raise PredictError(message)
    source = source_files.of_training(task, tasks, campaign)
    if source is None:
        message = (
            f"{task.key}: its model reads events of a store that the campaign does not declare, so "
            "that nothing says how files are read. Stage them as a dataset, and evaluate on that."
        )
        raise PredictError(message)
    made = (each for each in tasks if isinstance(each, FeaturesTask) and each.store == task.store)
    features = next((str(run.task(each.key).path.absolute()) for each in made), "")
    check_files(list(files))
    return PredictRequest(
        finetuned=str(folder.path.absolute()),
        features=features if task.cached else "",
        source=source.model_dump(mode="json"),
        files=tuple(each if "://" in each else str(Path(each).absolute()) for each in files),
        to=str(to.absolute()),
    )


def _named(key: str, trainings: list[FinetuneTask]) -> FinetuneTask:
    """Return the fine-tuning that `key` names.

    Raises:
        DeclarationError: There is none.
    """
    names = {each.key.partition("/")[2]: each for each in trainings}
    stage, mark, name = key.partition("/")
    if mark and stage in STAGES and name in names:
        return names[name]
    if not mark and key in names:
        return names[key]
    near = get_close_matches(name or key, names, 1)
    known = ", ".join(each.key for each in trainings) or "(none)"
    meant = f"Did you mean 'finetune/{near[0]}'?" if near else f"Known: {known}."
    message = f"No fine-tuning {key!r} in this campaign. {meant}"
    raise DeclarationError(message)


def start(request: PredictRequest, shown: Callable[[FileProgress], None]) -> FilesPredicted:
    """Let a program predict the files of a request; `shown` is called as it comes along.

    Raises:
        PredictError: It failed; the message and the outcome are its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "request.json", Path(folder) / "log.txt"
        records.write(path, request)
        result = None
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [*PROGRAM, str(path)], stdout=subprocess.PIPE, stderr=errors, text=True
            ) as program,
        ):
            assert program.stdout is not None
            for line in program.stdout:
                result = _result(line, shown) or result
        said = log.read_text().strip()
    if program.returncode or result is None:
        name = of_code(program.returncode).name if program.returncode > 0 else "error"
        message = said or f"The program that predicts ended with {program.returncode}."
        raise PredictError(message, name)
    return result


def _result(line: str, shown: Callable[[FileProgress], None]) -> FilesPredicted | None:
    """Return the result in a line of a program, None of another, after it was `shown`."""
    try:
        content = json.loads(line)
        if "events" in content:
            return FilesPredicted.model_validate(content)
        shown(FileProgress.model_validate(content))
    except (ValueError, TypeError, ValidationError):  # what a library printed
        sys.stderr.write(line)
    return None
