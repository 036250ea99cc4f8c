"""Open a run as a verb names it: by its campaign, or by its folder, wherever that was moved."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.catalog import DeclarationError, names
from pipeline.cli import completion
from pipeline.cli.screen import known_campaign, plain, run_folder
from pipeline.site import load_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.campaign import Campaign
    from pipeline.run import Run
    from pipeline.site import Site

CAMPAIGNS = "jobs/campaigns"
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder; or a campaign, with --site and --root.",
        autocompletion=completion.campaigns,
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Run folders of one campaign; or a campaign, with --site and --root.",
        autocompletion=completion.campaigns,
    ),
]


def opened(name: str, site: str | None, root: Path | None) -> "tuple[Campaign, Site, Run]":
    """Return the campaign, the site and the folder of the run that `name` names.

    A run folder is read by its own declarations: the campaign and the site as it was last run.

    Raises:
        DeclarationError: There is no such campaign, or the folder is none of a run.
    """
    if not _is_folder(name):
        what, where = known_campaign(name), load_site(site)
        return what, where, run_folder(what, where, root)
    return in_folder(Path(name), site, root)


def each_opened(
    names: "Sequence[str]", site: str | None, root: Path | None
) -> "list[tuple[Campaign, Site, Run]]":
    """Return the campaign, the site and the folder of each of some runs.

    Raises:
        DeclarationError: One is no run, or is named twice.
    """
    found = [opened(name, site, root) for name in names]
    seen: dict[Path, str] = {}
    for name, (_, _, run) in zip(names, found, strict=True):
        if not run.path.is_dir():
            message = f"{run.path}: no such run."
            raise DeclarationError(message)
        if run.path.resolve() in seen:
            message = f"{name}: the same run folder as {seen[run.path.resolve()]}. Name each once."
            raise DeclarationError(message)
        seen[run.path.resolve()] = name
    return found


def in_folder(
    folder: Path, site: str | None, root: Path | None = None
) -> "tuple[Campaign, Site, Run]":
    """Return the same of a run folder.

    Raises:
        DeclarationError: It is none of a run, or `root` is given too.
    """
    from pipeline.run import Run
    from pipeline.shared import follow

    run = Run(plain(folder).parent, plain(folder).name)
    if not run.declaration.is_file():
        message = f"{folder}: no run: {run.declaration.name} is not there. Give a run folder."
        raise DeclarationError(message)
    if root is not None:
        message = f"{folder} is a run folder: leave --root out."
        raise DeclarationError(message)
    follow(run.path)
    recorded = str(run.site) if run.site.is_file() else None
    return known_campaign(str(run.declaration)), load_site(site or recorded), run


def _is_folder(name: str) -> bool:
    """Whether a name means a folder: it is one, and no declared campaign of that name."""
    return Path(name).is_dir() and (
        os.sep in name or name in (".", "..") or name not in names(CAMPAIGNS)
    )
