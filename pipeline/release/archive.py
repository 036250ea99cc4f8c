"""Pack what of a run is worth keeping, with checksums, into one tar file."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline import __version__, catalog, claims, records
from pipeline.budget.ledger import Ledger
from pipeline.claims.detecting import Notice, on_stderr
from pipeline.outcome import BusyError, RunError
from pipeline.release.archive_manifest import NAME, ArchiveManifest, LeftOut
from pipeline.release.elsewhere import elsewhere
from pipeline.release.keeping import sort_out
from pipeline.release.tarring import ChangedError, Tar
from pipeline.run import Run
from pipeline.writing import all_written


class ArchiveError(RunError):
    """A run cannot be packed, or an archive is not whole; the message says what to do."""

    outcome = "error"


@dataclass(frozen=True)
class Archive:
    """What was packed: where, the SHA-256 of the whole (empty in HPSS), and its manifest.

    `is_private` is whether a member may be read by its owner alone, so the archive too.
    """

    path: str
    sha256: str
    bytes: int
    manifest: ArchiveManifest
    is_private: bool


def pack(run: Run, to: Path, *, while_running: bool = False, notice: Notice = on_stderr) -> Archive:
    """Write the archive of `run` to the file `to`, and its SHA-256 beside it, as sha256sum does.

    Both have their names only once they are whole and on the disk. Where somebody works in the run,
    each file is as it was at one moment, not all as at the same one.

    Raises:
        ArchiveError: There is no run, or something is at `to`.
        BusyError: Somebody works in the run, and it is not to be packed `while_running`.
        OSError: The run cannot be read, or `to` cannot be written.
    """
    sums = to.with_name(f"{to.name}.sha256")
    for path in (to, sums):
        if path.exists():
            message = f"{path}: is there already. Name another file with --to, or move it away."
            raise ArchiveError(message)
    about = described(run, while_running=while_running, notice=notice)
    found = sort_out(run)
    is_private = has_private(run, found.kept)
    try:
        with all_written((to, sums)) as (temporary, beside):
            with Tar.written(temporary, private=is_private) as tar:
                top = run.path.name
                members = [tar.add(run.path / name, f"{top}/{name}", name) for name in found.kept]
                changes = {"members": tuple(members), "left_out": left_out(run, found.left_out)}
                manifest = about.model_copy(update=changes)
                tar.add_text(f"{top}/{NAME}", manifest.model_dump_json(indent=1) + "\n")
            beside.write_text(f"{tar.sha256}  {to.name}\n")
    except ChangedError as error:
        message = f"{error}: changed while it was packed. Pack again."
        raise ArchiveError(message) from error
    except OSError as error:
        error.filename = error.filename or str(to)
        raise
    return Archive(str(to), tar.sha256, tar.bytes, manifest, is_private)


def described(run: Run, *, while_running: bool, notice: Notice) -> ArchiveManifest:
    """Return the manifest of an archive of `run`, without its members.

    Raises:
        ArchiveError: There is no run.
        BusyError: Somebody works in it, and it is not to be packed `while_running`.
    """
    if not run.declaration.is_file():
        message = f"{run.path}: no run to pack; {run.declaration.name} is not there."
        raise ArchiveError(message)
    working = tuple(at_work(run, notice))
    if working and not while_running:
        lines = "\n".join(f"  - {each}" for each in working)
        message = (
            f"{run.path}: somebody is at work here:\n{lines}\nWait until they are done, end them "
            "(cosmotron cancel), or pack the run as it is now: --while-running. If they ended long "
            "ago, bring the ledger up to accounting first: cosmotron status --settle"
        )
        raise BusyError(message)
    return ArchiveManifest(
        version=__version__,
        run=run.path.name,
        campaign=str(catalog.table(run.declaration).get("name", run.campaign)),
        identity=run.identity,
        packed=datetime.now(UTC).isoformat(timespec="seconds"),
        at_work=working,
        members=(),
        elsewhere=elsewhere(run),
    )


def at_work(run: Run, notice: Notice = on_stderr) -> Iterator[str]:
    """Yield who works in `run`: its controller, and each job that has yet to end by the ledger."""
    controller = claims.holder(run.claim, notice)
    if controller is not None:
        yield f"the controller, process {controller.pid} on {controller.host}"
    if run.ledger.is_dir():
        for each in Ledger(run.ledger).accounts().values():
            if each.job_id and each.end is None:
                yield f"{each.task}, job {each.job_id} on {each.site} ({each.state})"


def left_out(run: Run, found: tuple[LeftOut, ...]) -> tuple[LeftOut, ...]:
    """Return what is left out, with what an earlier archive left out and nobody made since."""
    before = records.read(run.path / NAME, ArchiveManifest)
    known = {each.path for each in found}
    earlier = before.left_out if before is not None else ()
    still = (each for each in earlier if each.path not in known)
    return (*found, *(each for each in still if not (run.path / each.path).exists()))


def has_private(run: Run, names: tuple[str, ...]) -> bool:
    """Return whether one of the files `names` may be read by its owner alone."""
    others = stat.S_IRGRP | stat.S_IROTH
    return any(not (run.path / name).stat().st_mode & others for name in names)
