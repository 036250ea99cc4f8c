"""Predict files of any number by the workers of a run's pilots, beside its campaign.

It is a task of the run with a part for each file: its pilots are priced, guarded and charged as all
of the run's jobs are, and parts that are done stay done.
"""

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from pipeline import claims, leftovers, records
from pipeline.attendance import attending
from pipeline.campaign import PredictTask, declare
from pipeline.campaign.model_folder import SourceFiles
from pipeline.data.errors import BadInput
from pipeline.data.predictions import formats
from pipeline.data.source import is_remote
from pipeline.outcome import RunError
from pipeline.planning import misuse, preflight
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.records import FilesPredicted, PredictRequest, Weights
from pipeline.run import PREDICT, Run, TaskFolder
from pipeline.scheduler import connect
from pipeline.site import Site
from pipeline.workflow.controller import check_may_run, execute, folders


def task_of(request: PredictRequest) -> PredictTask:
    """Return the task of a run that a request amounts to; the same for the same request.

    Raises:
        BadInput: A file is not there: known before any node-hour is spent.
    """
    missing = [name for name in request.files if not is_remote(name) and not Path(name).is_file()]
    if missing:
        message = f"{missing[0]}: no such file ({len(missing)} of {len(request.files)} missing)."
        raise BadInput(message)
    finetuned = TaskFolder(Path(request.finetuned))
    weights = records.read(finetuned.result, Weights)
    if weights is None:
        message = f"{finetuned.result}: not there, so that the weights cannot be known."
        raise RunError(message)
    made = request.model_dump_json() + weights.weights_sha256
    name = f"{Path(request.to).stem}-{hashlib.sha256(made.encode()).hexdigest()[:8]}"
    return PredictTask(
        key=f"{PREDICT}/{name}",
        needs=("/".join(finetuned.path.parts[-2:]),),
        finetuned=finetuned.path,
        weights_sha256=weights.weights_sha256,
        features=Path(request.features) if request.features else None,
        source=SourceFiles.model_validate(request.source),
        sources=request.files,
        to=Path(request.to),
    )


def drive(
    task: PredictTask,
    site: Site,
    run: Run,
    options: RunOptions,
    *,
    console: Console,
    agree: Callable[[Plan], bool],
    checks: bool = True,
) -> FilesPredicted | None:
    """Predict the files of `task` in pilots of `site`; return what was made, None if not agreed.

    Safe to call again after any end: files that are predicted are left alone. Pilots may finish
    after their controller was killed: then what they made is returned.

    Raises:
        BadInput: A file `task.to` is there of which that is not known, or it cannot be called so.
        RunError: Another controller drives the run, a stop request exists, or a part failed.
        DeclarationError: The site cannot run it; or its policies forbid it, unless not `checks`.
    """
    folder = run.task(task.key)
    if folder.is_done and task.to.exists():
        return records.read(folder.result, FilesPredicted)
    formats.check_ending(task.to)
    check_may_run(run)
    plan = make_plan([task], run, site, options)
    if checks:
        misuse.check(plan, connect(site, run))
    if not agree(plan):
        return None
    notice = partial(console.print, markup=False, soft_wrap=True)
    with claims.claimed(run.claim, notice=notice), attending(run) as attendance:
        if checks:
            preflight.before_submission(plan, connect(site, run))
        leftovers.remove(folders(run, [task]))
        _begin_anew(folder)
        declare(folder, task)
        problems = execute(plan, [task], console, lambda _: None, attendance)
        attendance.end(problems)
    if problems:
        raise RunError("\n".join(problems))
    return records.read(folder.result, FilesPredicted)


def _begin_anew(folder: TaskFolder) -> None:
    """Forget what an earlier request of the same made, since its file is not there any more."""
    if folder.is_done:
        folder.done.unlink()
        folder.result.unlink(missing_ok=True)
        for path in (folder.parts, folder.prediction_parts):
            shutil.rmtree(path, ignore_errors=True)
