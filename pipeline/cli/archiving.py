"""The verbs archive and restore: what of a run is worth keeping for years."""

import json
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import AsJson, Root, SiteName, as_bytes, escaped, fail, out, screen
from pipeline.outcome import Exit

if TYPE_CHECKING:
    from pipeline.release.archive import Archive
    from pipeline.release.archive_manifest import ArchiveManifest, LeftOut


def archive(
    run: RunName,
    site: SiteName = None,
    root: Root = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file to write; default: <run>.tar, here.")
    ] = None,
    htar: Annotated[
        str, typer.Option("--htar", metavar="PATH", help="Write to this path in HPSS, by htar.")
    ] = "",
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Pack it even if somebody is at work in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Pack what of a run is worth keeping: declarations, ledger, weights, metrics, results, page.

    Every member has its SHA-256 in the archive, the whole has its own beside it. What can be made
    again, stores for example, is not packed but listed, with how to make it. Nothing is removed.

    Example: `cosmotron archive runs/quickstart --to quickstart.tar`
    """
    from pipeline.release import hpss
    from pipeline.release.archive import pack

    if to is not None and htar:
        fail("--to and --htar exclude each other.", Exit.USAGE)
    _, _, folder = opened(run, site, root)

    def notice(message: str) -> None:
        """Print for whom it waits."""
        screen.print(escaped(message), highlight=False, soft_wrap=True)

    if htar:
        packed = hpss.pack(folder, htar, while_running=while_running, notice=notice)
    else:
        target = to or Path(f"{folder.path.name}.tar")
        packed = pack(folder, target, while_running=while_running, notice=notice)
    if as_json:
        typer.echo(json.dumps(_as_json(packed), indent=2))
        return
    _print(packed)


def restore(
    archive: Annotated[str, typer.Argument(help="An archive, as `cosmotron archive` wrote it.")],
    to: Annotated[Path, typer.Option("--to", help="The folder in which the run is made.")] = Path(),
    htar: Annotated[
        bool, typer.Option("--htar", help="The archive is a path in HPSS: read it by htar.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Unpack an archived run and verify each checksum; a run folder is there only if all agree.

    Its status, report, budget and weights can be read at once. `cosmotron run` goes on with it: it
    makes stores again where a task that is to be done needs them, and no finished training.

    Example: `cosmotron restore quickstart.tar --to runs`
    """
    from pipeline.release.restore import restore as unpack
    from pipeline.release.restore import restore_from_hpss

    found = restore_from_hpss(archive, to) if htar else unpack(Path(archive), to)
    manifest = found.manifest
    if as_json:
        content = {"run": str(found.path), "sha256": found.sha256, **_of_manifest(manifest)}
        typer.echo(json.dumps(content, indent=2))
        return
    size = as_bytes(sum(each.bytes for each in manifest.members))
    whole = "the whole file too" if found.sha256 else "no .sha256 beside the archive"
    _say(
        f"Restored {found.path}: {len(manifest.members):,} files, {size}, packed "
        f"{manifest.packed}. Every checksum agrees ({whole})."
    )
    _print_notes(manifest)
    path = shlex.quote(str(found.path))
    _say(f"Read it: cosmotron status {path}")
    _say(f"Go on: cosmotron run {path}")


def _print(packed: "Archive") -> None:
    """Print what was packed, and what was not."""
    manifest = packed.manifest
    _say(
        f"Packed {len(manifest.members):,} files of {manifest.run} into {packed.path}, "
        f"{as_bytes(packed.bytes)}."
    )
    if packed.sha256:
        _say(f"SHA-256 {packed.sha256}, in {packed.path}.sha256 too: keep both.")
    if packed.is_private:
        _say("A member may be read by you alone, since it has a secret: so may the archive.")
    _print_notes(manifest)


def _print_notes(manifest: "ArchiveManifest") -> None:
    """Print who was at work, what was left out, and what lies elsewhere."""
    for each in manifest.at_work:
        _say(f"[bold]at work[/] {escaped(each)}: its files are as they were at that moment.")
    if manifest.left_out:
        table = Table("left out", "files", "size", "", box=None, pad_edge=False)
        for (what, again), parts in _grouped(manifest.left_out).items():
            files, size = sum(each.files for each in parts), sum(each.bytes for each in parts)
            table.add_row(what, f"{files:,}", as_bytes(size), escaped(again))
        out.print(table)
    for other in manifest.elsewhere:
        _say(f"Not part of the run: {escaped(other.path)} ({other.what}).")


def _grouped(left_out: "tuple[LeftOut, ...]") -> "dict[tuple[str, str], list[LeftOut]]":
    """Return what was left out by what it is and how to have it again."""
    groups: dict[tuple[str, str], list[LeftOut]] = defaultdict(list)
    for each in left_out:
        groups[each.what, each.again].append(each)
    return groups


def _say(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)


def _as_json(packed: "Archive") -> dict[str, Any]:
    return {
        "archive": packed.path,
        "sha256": packed.sha256,
        "bytes": packed.bytes,
        "is_private": packed.is_private,
        **_of_manifest(packed.manifest),
    }


def _of_manifest(manifest: "ArchiveManifest") -> dict[str, Any]:
    content = manifest.model_dump(mode="json", exclude={"members", "run"})
    size = sum(each.bytes for each in manifest.members)
    return {**content, "members": len(manifest.members), "bytes_of_members": size}
