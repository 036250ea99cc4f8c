"""What the links of a chain need to know of their campaign, so that they need no controller."""

from dataclasses import asdict
from typing import Any

from pipeline import catalog
from pipeline.campaign import CHAINED, Task
from pipeline.outcome import RunError
from pipeline.planning.plan import Asked, Plan, Step
from pipeline.run import Run, TaskFolder
from pipeline.site import Site
from pipeline.writing import read_json, write_json

MODELS = {model.model_fields["stage"].default: model for model in CHAINED}


def give(plan: Plan, step: Step) -> None:
    """Write beside the task of `step` how its links are asked, from now on."""
    asked_of_step = {key: value for key, value in vars(step).items() if key != "task"}
    what = {
        "stage": step.task.stage,
        "site": plan.site.model_dump(mode="json"),
        "asked": asdict(plan.asked),
        "step": asked_of_step,
        "code": plan.code,
    }
    write_json(plan.run.task(step.task.key).chain / "order.json", what)


def taken(folder: TaskFolder) -> tuple[Plan, Step]:
    """Return the plan and its only step that the links of the task in `folder` follow.

    Raises:
        RunError: The order is not there or damaged.
        DeclarationError: The task's declaration is.
    """
    path = folder.chain / "order.json"
    what = read_json(path)
    if what is None:
        message = f"{path}: not there. It is written when a training is first submitted."
        raise RunError(message)
    model: type[Any] = MODELS[what["stage"]]
    task: Task = catalog.read(folder.declaration, model)
    step = Step(task=task, **what["step"])
    path_of_run = folder.path.parent.parent
    run = Run(path_of_run.parent, path_of_run.name)
    site = catalog.parse(Site, what["site"])
    return Plan(run, site, Asked(**what["asked"]), [step], what["code"]), step
