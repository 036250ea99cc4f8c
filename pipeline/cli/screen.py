"""What all verbs share: the screen, the options, and the report of an error."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console

from pipeline.catalog import DeclarationError
from pipeline.cli import completion
from pipeline.data.errors import BadInput
from pipeline.data.experiments import check
from pipeline.masking import masked, print_traceback
from pipeline.outcome import classify
from pipeline.site import PROJECT

if TYPE_CHECKING:
    from pipeline.campaign import Campaign
    from pipeline.run import Run
    from pipeline.site import Site

CampaignName = Annotated[
    str,
    typer.Argument(
        help="A declared campaign, a .toml file, or the folder of a run.",
        autocompletion=completion.campaigns,
    ),
]
TaskName = Annotated[
    str,
    typer.Argument(help="A task, as `cosmotron status` names it.", autocompletion=completion.tasks),
]
SiteName = Annotated[
    str | None,
    typer.Option(
        "--site",
        help="A declared site, or a .toml file; default: this one.",
        autocompletion=completion.sites,
    ),
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Where run folders live; default: the site's scratch.")
]


def _exported(context: typer.Context, value: str) -> str:
    """Export the project that was typed: a site's scratch may name it."""
    source = context.get_parameter_source("project")
    if source is not None and source.name == "COMMANDLINE":
        os.environ[PROJECT] = value
    return value


Project = Annotated[
    str,
    typer.Option("--project", envvar=PROJECT, help="The project that pays.", callback=_exported),
]
Group = Annotated[
    str,
    typer.Option(
        "--group", envvar="COSMOTRON_GROUP", help="Share the run with this group of users."
    ),
]
QosName = Annotated[str, typer.Option("--qos", help="The queue of the trainings.")]
Image = Annotated[str, typer.Option("--image", help="Run in this container image.")]
Bundle = Annotated[
    Literal["cheapest", "soonest", "never"],
    typer.Option("--bundle", help="When trainings share large jobs."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="This part, with what it needs: a stage, model, fine-tuning, task, cell, or pattern.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

# Tables are fitted to a terminal; a pipe or a file gets every name whole.
out = Console(width=None if sys.stdout.isatty() else 240)
screen = Console(stderr=True)


@contextmanager
def errors_reported() -> Iterator[None]:
    """Turn an error of the body into one message and the exit code of its class."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - classified and reported
        failure = classify(error, where="The run folder")
        if not (failure.is_foreseen or isinstance(error, OSError)):
            print_traceback(error)
        fail(failure.message, failure.code)


def fail(message: str, code: int) -> NoReturn:
    """Print `message` and end with `code`."""
    screen.print(f"[bold red]error[/] {escaped(message)}", highlight=False, soft_wrap=True)
    raise SystemExit(int(code))


def escaped(text: str) -> str:
    """Return `text` without meaning to rich's markup, and without secrets."""
    return masked(text).replace("[", r"\[")


def known_campaign(name: str) -> "Campaign":
    """Return the campaign `name`, whose datasets are of experiments that we know.

    Raises:
        DeclarationError: It cannot be found, read or believed.
    """
    from pipeline.campaign import load_campaign

    if name.endswith(".toml") and not Path(name).is_file():
        message = f"{name}: no such file. A run has a copy: name its folder in place of the file."
        raise DeclarationError(message)
    campaign = load_campaign(name)
    for key, dataset in campaign.datasets.items():
        try:
            check(dataset.experiment)
        except BadInput as error:
            message = f"{name}: datasets.{key}: {error}"
            raise DeclarationError(message) from error
    return campaign


def run_folder(campaign: "Campaign", site: "Site", root: Path | None) -> "Run":
    """Return the run folder of `campaign` on `site`, which may name variables of that site."""
    from pipeline.run import Run
    from pipeline.shared import follow

    where = root or Path(os.path.expandvars(site.scratch)).expanduser()
    run = Run(plain(where), campaign.name)
    follow(run.path)
    return run


def plain(path: Path) -> Path:
    """Return a path from the root on and without "..", as a task names what lies below it.

    One that begins with a variable of another machine stays as it is.
    """
    if str(path).startswith("$"):
        return path
    found = Path(os.path.abspath(path))  # noqa: PTH100 - it keeps links, but for those before ".."
    return found if found.resolve() == path.resolve() else path.resolve()


def there(run: "Run", site: "Site") -> "Run":
    """Return `run` if its folder can be meant on this machine.

    Raises:
        DeclarationError: It begins with a variable that is not set here, or the scratch does.
    """
    missing = _unset(run)
    if missing and run.root == Path(os.path.expandvars(site.scratch)).expanduser():
        way = "Give --project." if missing == [PROJECT] else "Give a folder: --root."
        message = (
            f"{site.name}: {site.scratch}: {', '.join(missing)} is not set on this machine. {way}"
        )
        raise DeclarationError(message)
    if str(run.root).startswith("$"):
        message = f"--root {run.root}: not set on this machine. Give a folder that is there."
        raise DeclarationError(message)
    return run


def no_such_run(run: "Run", name: str) -> str:
    """Return what to say and to type where the folder of the run that `name` names is not there."""
    missing = _unset(run)
    way = (
        f"{', '.join(missing)} is not set here: set it, or name the run folder."
        if missing
        else f"Start with: cosmotron run {name}"
    )
    return f"{run.path}: no such run. {way}"


def _unset(run: "Run") -> list[str]:
    """Return the variables in a run's path, which this machine has not."""
    return re.findall(r"\$\{?(\w+)", str(run.path))


def as_hours(value: float) -> str:
    """Return node-hours as people read them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def as_bytes(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
