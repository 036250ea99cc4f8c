"""The verb transfer: a verified copy of what another machine needs for its part of a campaign."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import AsJson, Only, Root, SiteName, as_bytes, escaped, fail, out, screen
from pipeline.outcome import Exit

if TYPE_CHECKING:
    from pipeline.planning.transfer import Parcel

MOST_LINES = 20


def transfer(
    run: RunName,
    to: Annotated[
        str,
        typer.Argument(
            metavar="[DEST]", help="The run folder there: a path, host:path, or COLLECTION:path."
        ),
    ] = "",
    site: SiteName = None,
    root: Root = None,
    only: Only = None,
    globus: Annotated[
        str,
        typer.Option(
            "--globus", metavar="COLLECTION", help="Copy by Globus, from this collection."
        ),
    ] = "",
    execute: Annotated[bool, typer.Option("--run", help="Run the commands, too.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Verify the copy at the destination, typed there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the commands that copy what a part of a campaign needs to another machine.

    These are the records of finished tasks, and the stores and weights that tasks of the part which
    are to be done read: of all, or of those that --only names. --check compares every file at the
    destination with its SHA-256. What is there is never overwritten.

    Example: `cosmotron transfer runs/quickstart frontier:/orion/quickstart --only finetune`
    """
    if check:
        _check(Path(to or run), as_json=as_json)
        return
    if not to:
        fail("Name the run folder at the destination, or verify a copy with --check.", Exit.USAGE)
    from pipeline.planning import copying, selection
    from pipeline.planning.transfer import parcel, write

    what, _, folder = opened(run, site, root)
    part = selection.part(what, folder, only or (), elsewhere=True)
    found = parcel(part, selection.named(part.every_task, what, only or ()), folder)
    lists, here = write(found, folder), folder.path.absolute()
    commands = (
        copying.by_globus(here, lists, globus, to) if globus else copying.by_rsync(here, lists, to)
    )
    if as_json:
        _print_json(found, commands)
    else:
        _print(found, to)
    for command in commands:
        if not as_json:
            typer.echo(shlex.join(command))
        if execute:
            _execute(command)
    if not as_json:
        _print_elsewhere(found, to, by_rsync=not globus)
        _say(f"Then verify it there: cosmotron transfer {_path(to)} --check")


def _print(found: "Parcel", to: str) -> None:
    """Print what goes over, and what does not."""
    files = f"{len(found.files) + len(found.done):,} files, {as_bytes(found.bytes)}"
    tasks = ", ".join(name.rpartition("/")[0] for name in found.done)
    _say(f"To {to}: {files}, of {len(found.done)} finished task(s): {tasks}.")
    if found.begun:
        _say(
            f"Not copied: what has begun here and is not finished ({', '.join(found.begun)}). Let "
            "one machine do it, or it is done twice."
        )


def _print_elsewhere(found: "Parcel", to: str, *, by_rsync: bool) -> None:
    """Print what is read from outside of the run, and the commands if it is copied by rsync."""
    from pipeline.planning import copying

    if not found.elsewhere:
        return
    _say(
        "Not copied is what the part reads from outside of the run. Copy it too, unless it is "
        "there, and name its place in the campaign there: wherever it lies, it is known by its "
        "content."
    )
    for path in found.elsewhere:
        _say(f"  {escaped(str(path))}")
    for command in copying.beside(found.elsewhere, to) if by_rsync else ():
        typer.echo(shlex.join(command))


def _print_json(found: "Parcel", commands: list[list[str]]) -> None:
    content = {
        "files": len(found.files) + len(found.done),
        "bytes": found.bytes,
        "tasks": [name.rpartition("/")[0] for name in found.done],
        "begun": found.begun,
        "elsewhere": [str(path) for path in found.elsewhere],
        "commands": commands,
    }
    typer.echo(json.dumps(content, indent=2))


def _execute(command: list[str]) -> None:
    """Run a command; end with 1 if it fails or is not there."""
    try:
        done = subprocess.run(command, check=False)
    except FileNotFoundError:
        fail(f"{command[0]}: not found here. Type the commands where it is.", Exit.FAILED)
    if done.returncode:
        fail(f"{command[0]} ended with exit code {done.returncode}. The same command goes on.", 1)


def _check(folder: Path, *, as_json: bool) -> None:
    """Verify the copy in `folder`; end with 65 if a file differs."""
    from pipeline.planning.transfer import check

    if ":" in str(folder) and not folder.exists():
        fail(
            f"Type this on that machine: cosmotron transfer {_path(str(folder))} --check",
            Exit.USAGE,
        )
    with screen.status("verifying"):
        found = check(folder)
    if as_json:
        typer.echo(json.dumps({"files": found.files, "wrong": list(found.wrong)}, indent=2))
    elif not found.wrong:
        _say(f"{folder}: all {found.files:,} files ({as_bytes(found.bytes)}) are what was sent.")
    if found.wrong:
        shown = "\n".join(f"  - {each}" for each in found.wrong[:MOST_LINES])
        more = len(found.wrong) - MOST_LINES
        others = f"\n  and {more} more" if more > 0 else ""
        message = (
            f"{folder}: {len(found.wrong):,} of {found.files:,} files are not what was sent:\n"
            f"{shown}{others}\nRemove what differs, then send it again with the same command."
        )
        fail(message, Exit.BAD_INPUT)


def _path(to: str) -> str:
    """Return the path of a destination, without its host, as it is typed."""
    return shlex.quote(to.partition(":")[2] or to)


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)
