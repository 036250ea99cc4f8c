"""The verb stop: stops a campaign or one of its tasks, and lets it continue."""

from typing import Annotated

import typer

from pipeline.catalog import DeclarationError
from pipeline.cli import completion
from pipeline.cli.opening import opened
from pipeline.cli.screen import CampaignName, Root, SiteName, no_such_run, screen
from pipeline.cli.screen import there as on_this_machine
from pipeline.outcome import RunError


def stop(
    campaign: CampaignName,
    task: Annotated[
        str,
        typer.Argument(
            help="One task, as `cosmotron status` names it; default: all.",
            autocompletion=completion.tasks,
        ),
    ] = "",
    site: SiteName = None,
    root: Root = None,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever runs it next.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Withdraw the stop request.")] = False,
) -> None:
    """Let trainings save and end, and submit no more jobs until `--undo`.

    Example: `cosmotron stop quickstart --reason "the queue is needed"`
    """
    from pipeline.chains import stop_requests

    what, where, folder = opened(campaign, site, root)
    run = on_this_machine(folder, where)
    if not run.path.is_dir():
        message = no_such_run(run, campaign)
        raise RunError(message)
    keys = [each.key for each in what.tasks(run)]
    if task and task not in keys:
        message = f"{campaign}: no task {task!r}. There are: {', '.join(keys)}."
        raise DeclarationError(message)
    path = run.task(task).stop if task else run.stop
    if undo:
        found = path.exists()
        path.unlink(missing_ok=True)
        then = f"To continue: cosmotron run {campaign}"
        screen.print(
            f"Withdrawn. {then}" if found else f"{path}: no stop request. {then}", soft_wrap=True
        )
        return
    stop_requests.write(path, reason)
    name = f"{campaign} {task}".strip()
    screen.print(
        f"Wrote {path}: running links save and end within a step, and no more jobs are "
        "submitted. Pending jobs end as soon as they start (to cancel them now: cosmotron cancel "
        f"{campaign}). To continue: cosmotron stop {name} --undo",
        soft_wrap=True,
    )
