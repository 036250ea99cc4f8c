"""What a shell completes: the names of campaigns, sites, tasks and families, and .toml files."""

from collections.abc import Iterator
from pathlib import Path

import typer


def campaigns(incomplete: str) -> list[str]:
    """Return the declared campaigns and the .toml files that begin with `incomplete`."""
    from pipeline.campaign import SHELF

    return _declared(SHELF, incomplete)


def sites(incomplete: str) -> list[str]:
    """Return the declared sites and the .toml files that begin with `incomplete`."""
    from pipeline.site import SHELF

    return _declared(SHELF, incomplete)


def families(incomplete: str) -> list[str]:
    """Return the families and tokenizers that begin with `incomplete`."""
    from pipeline.families import FAMILIES, TOKENIZERS

    return [name for name in FAMILIES | TOKENIZERS if name.startswith(incomplete)]


def tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tasks of the campaign on the command line that begin with `incomplete`.

    A shell must not be disturbed: of a campaign that cannot be read there are none.
    """
    from pipeline.campaign import load_campaign
    from pipeline.outcome import RunError
    from pipeline.run import Run

    try:
        campaign = load_campaign(ctx.params["campaign"])
        found = campaign.tasks(Run(Path(), campaign.name), elsewhere=True)
    except (RunError, ValueError, OSError, KeyError):
        return []
    return [task.key for task in found if task.key.startswith(incomplete)]


def _declared(shelf: str, incomplete: str) -> list[str]:
    """Return the names on a shelf, and the folders and .toml files, that begin so."""
    from pipeline.catalog import names

    known = [name for name in names(shelf) if name.startswith(incomplete)]
    return [*known, *_files(incomplete)]


def _files(incomplete: str) -> Iterator[str]:
    """Yield the folders and .toml files that begin with `incomplete`, none for nothing."""
    if not incomplete:
        return
    path = Path(incomplete)
    folder, stem = (path, "") if incomplete.endswith("/") else (path.parent, path.name)
    for each in sorted(folder.glob(f"{stem}*")):
        if each.is_dir():
            yield f"{each}/"
        elif each.suffix == ".toml":
            yield str(each)
