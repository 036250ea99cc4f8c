"""The settings of a chain's links, on disk beside the task: links continue without a controller."""

from dataclasses import asdict
from pathlib import Path

from pipeline import catalog, trust
from pipeline.campaign import stored
from pipeline.outcome import RunError
from pipeline.planning.plan import Plan, RunOptions, Step
from pipeline.run import Run, TaskFolder
from pipeline.site import Site
from pipeline.writing import read_json, write_json


class NotPreparedError(RunError):
    """Nobody has prepared the links of a training in this run folder."""

    outcome = "bad_input"


def write(plan: Plan, step: Step) -> None:
    """Write the settings of the links of `step` beside its task."""
    settings = {
        "stage": step.task.stage,
        "site": plan.site.model_dump(mode="json"),
        "options": asdict(plan.options),
        "step": {key: value for key, value in vars(step).items() if key != "task"},
        "code": plan.code,
    }
    write_json(_path(plan.run.task(step.task.key)), settings)


def read(folder: TaskFolder) -> tuple[Plan, Step]:
    """Return the plan, and its only step, from which the links of the task in `folder` are made.

    Raises:
        NotPreparedError: The settings are missing.
        RunError: They are damaged.
        DeclarationError: The task's declaration is damaged.
        OtherOwnerError: Another user wrote the settings, of which batch scripts are made.
    """
    path = _path(folder)
    settings = read_json(path)
    if settings is None:
        message = (
            f"{path}: not there. `cosmotron run` writes it on this machine, when it submits the "
            "training for the first time: type that, in place of submitting this script."
        )
        raise NotPreparedError(message)
    trust.check(path)
    task = stored.read_any(folder)
    path_of_run = folder.path.parent.parent
    run = Run(path_of_run.parent, path_of_run.name)
    site = catalog.parse(Site, settings["site"])
    options = RunOptions(**settings["options"])
    queue = {"qos": options.qos or site.training.qos}  # as an older version chose it
    step = Step(task=task, **{**queue, **settings["step"]})
    return Plan(run, site, options, [step], settings["code"]), step


def _path(folder: TaskFolder) -> Path:
    return folder.chain / "link-settings.json"
