"""The verb touch: the files that a campaign still needs, where scratch is purged."""

import json
import time
from typing import TYPE_CHECKING

import typer

from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import AsJson, Only, Root, SiteName, as_bytes, escaped, fail, out
from pipeline.outcome import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.planning.needed import Purge
    from pipeline.run import Run
    from pipeline.site import FileSystem, Site


def touch(
    run: RunName,
    site: SiteName = None,
    root: Root = None,
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """Set the access times of the files that a campaign still reads, where the site allows it.

    These are the stores and weights that tasks which are to be done read, the checkpoints that
    trainings go on from, and files that are to be staged: nothing else of the run. Where the site's
    policy does not allow it, nothing is touched: the verb ends with 1 and says what would be purged
    when, and where to copy it.

    Example: `cosmotron touch runs/quickstart --site local`
    """
    from pipeline.planning import needed, selection
    from pipeline.planning.touching import touched

    what, where, folder = opened(run, site, root)
    part = selection.part(what, folder, only or (), elsewhere=True)
    found = needed.needed(part, folder)
    purged = needed.purges(found, where)
    refused = [each for each in purged if where.file_systems[each.name].touch != "allowed"]
    allowed = [] if refused else purged
    set_now = touched(allowed)
    if as_json:
        typer.echo(json.dumps(_as_json(purged, touched=not refused), indent=2))
    else:
        for each in found:
            if each.lost:
                first = f"the first {escaped(str(each.lost[0]))}"
                files = f"{len(each.lost):,} file(s) of {each.made_by}"
                _say(f"[bold red]gone[/] {files}, which {each.reader} reads, {first}.")
        if not refused:
            _print_touched(folder, purged, set_now, where)
    if refused:
        _refuse(folder, refused, where)


def _print_touched(folder: "Run", purged: "Sequence[Purge]", set_now: int, site: "Site") -> None:
    """Print what was touched, and what was left alone."""
    from pipeline.planning.touching import others

    if not purged:
        _say(f"{folder.path}: what is still read lies on no file system that {site.name} purges.")
        return
    size = sum(each.bytes for each in purged)
    _say(f"Touched {set_now:,} file(s), {as_bytes(size)}, that {folder.campaign} still reads.")
    files, left = others(folder, purged)
    _say(
        f"Left alone: {files:,} other file(s) of the run, {as_bytes(left)}, which it reads no more."
    )


def _refuse(folder: "Run", refused: "Sequence[Purge]", site: "Site") -> None:
    """End with the policy of the site, what is purged when, and what to do in place of it."""
    from pipeline.planning.purge import described

    for each in sorted(refused, key=lambda each: each.date):
        _say(f"{escaped(described(each))}; {each.needed.reader} reads them.")
    there = site.file_systems[refused[0].name]
    message = (
        f"Nothing was touched: {_policy(there, site)}. Copy what you need to {there.keep_at}: "
        f"cosmotron archive {folder.path} for records and weights, cosmotron transfer "
        f"{folder.path} DEST for stores. Or let the campaign read them before that day."
    )
    fail(message, Exit.FAILED)


def _policy(there: "FileSystem", site: "Site") -> str:
    words = there.purge_policy or f"its site file does not say that {site.title} allows it"
    verb = "forbids it" if there.touch == "forbidden" else "does not say that it is allowed"
    return f"{site.title} {verb}: {words}"


def _as_json(purged: "Sequence[Purge]", *, touched: bool) -> dict[str, object]:
    return {
        "touched": touched,
        "products": [
            {
                "made_by": each.needed.made_by,
                "reader": each.needed.reader,
                "files": len(each.needed.files),
                "lost": len(each.needed.lost),
                "bytes": each.bytes,
                "file_system": each.name,
                "purged_from": time.strftime("%Y-%m-%d", time.localtime(each.date)),
            }
            for each in purged
        ],
    }


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)
