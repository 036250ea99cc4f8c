"""Archives in HPSS, written and read by `htar`, which writes tar files there without a local copy.

Options as in the HTAR manual page (rcac.purdue.edu/files/hpss/htar_man.html) and LLNL's
(hpc.llnl.gov/manuals/ezstorage/htar-options): `-c`, `-t`, `-x` with `-f ARCHIVE` create, list and
extract; `-P` makes the folders above the archive; `-L FILE` takes the names of the members, one a
line, from a file; `-Hcrc` stores a checksum of each member and `-Hverify=1` compares the archive
with them after it was written. `-c` overwrites an archive without a question. A member is at most
64 GiB - 1; its name splits at a slash into at most 154 and 99 bytes, and one that does not is left
out with exit code 70, under the words HTAR SUCCESSFUL (docs.scinet.utoronto.ca, "POSIX 1003.1
USTAR"). HTAR adds a member of its own, `/tmp/HTAR_CF_CHK_...`.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.claims.detecting import Notice, on_stderr
from pipeline.release.archive import Archive, ArchiveError, described, has_private, left_out
from pipeline.release.archive_manifest import NAME, Member
from pipeline.release.keeping import sort_out
from pipeline.release.tarring import hashed
from pipeline.run import Run
from pipeline.writing import write_text

MOST_BYTES = 68_719_476_735
PREFIX_BYTES, NAME_BYTES = 154, 99
HTARS_MEMBER = "/tmp/HTAR_CF_CHK_"  # noqa: S108 - a name in the archive


def pack(run: Run, to: str, *, while_running: bool = False, notice: Notice = on_stderr) -> Archive:
    """Write the archive of `run` to the path `to` in HPSS.

    The manifest is written into the run folder first. A file that changes between its hash and the
    end of the copy is an error, since HTAR reads it by itself.

    Raises:
        ArchiveError: There is no htar or no run, something is at `to`, HTAR cannot take a member or
            fails, or a file has changed meanwhile.
        BusyError: Somebody works in the run, and it is not to be packed `while_running`.
    """
    _check_htar()
    if _htar("-t", "-f", to).returncode == 0:
        message = f"{to}: is there already in HPSS. Name another with --htar."
        raise ArchiveError(message)
    about = described(run, while_running=while_running, notice=notice)
    found, top = sort_out(run), run.path.name
    _check_names(run, [f"{top}/{name}" for name in found.kept])
    times = _times(run, found.kept)
    members = tuple(_member(run, name) for name in found.kept)
    manifest = about.model_copy(
        update={"members": members, "left_out": left_out(run, found.left_out)}
    )
    text = manifest.model_dump_json(indent=1) + "\n"
    write_text(run.path / NAME, text)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("".join(f"{top}/{name}\n" for name in (*found.kept, NAME)))
        names.flush()
        options = ("-Hcrc", "-Hverify=1", "-L", names.name)
        done = _htar("-c", "-P", "-f", to, *options, cwd=run.path.parent)
    if done.returncode:
        raise ArchiveError(_failed(to, done))
    _check_unchanged(run, times)
    size = sum(each.bytes for each in members)
    return Archive(to, "", size, manifest, has_private(run, found.kept))


def extract(archive: str, to: Path) -> None:
    """Extract the archive at the path `archive` in HPSS into the folder `to`.

    Raises:
        ArchiveError: There is no htar, or it fails.
    """
    _check_htar()
    done = _htar("-x", "-f", archive, cwd=to)
    if done.returncode:
        raise ArchiveError(_failed(archive, done))


def _check_htar() -> None:
    """Check that htar is on this machine.

    Raises:
        ArchiveError: It is not.
    """
    if shutil.which("htar") is None:
        message = (
            "htar: not found here. Sites with HPSS have it on login and transfer nodes; elsewhere "
            "pack a file with --to and copy that."
        )
        raise ArchiveError(message)


def _htar(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["htar", *words], cwd=cwd, capture_output=True, text=True, check=False)


def _failed(archive: str, done: subprocess.CompletedProcess[str]) -> str:
    words = (done.stdout + done.stderr).strip().splitlines()
    return (
        f"{archive}: htar ended with exit code {done.returncode}: "
        f"{' / '.join(words[-3:]) or 'no message'}. What it left in HPSS is not whole."
    )


def _check_names(run: Run, names: Sequence[str]) -> None:
    """Check that HTAR takes all members; it leaves out what it does not take.

    Raises:
        ArchiveError: It does not take one.
    """
    for name in names:
        if not _fits(name):
            message = (
                f"{name}: too long a name for HTAR. Pack a file with --to, and put that there."
            )
            raise ArchiveError(message)
        if (run.path.parent / name).stat().st_size > MOST_BYTES:
            message = (
                f"{name}: larger than 64 GiB, which HTAR does not take. Pack a file with --to."
            )
            raise ArchiveError(message)


def _fits(name: str) -> bool:
    """Whether a name splits at a slash into the two fields of a tar header."""
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES:
        return True
    splits = (at for at, byte in enumerate(encoded) if byte == ord("/"))
    return any(at <= PREFIX_BYTES and len(encoded) - at - 1 <= NAME_BYTES for at in splits)


def _member(run: Run, name: str) -> Member:
    return hashed(run.path / name).model_copy(update={"path": name})


def _times(run: Run, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    found = {name: (run.path / name).stat() for name in names}
    return {name: (each.st_size, each.st_mtime_ns) for name, each in found.items()}


def _check_unchanged(run: Run, times: dict[str, tuple[int, int]]) -> None:
    """Check that no file has changed since its size and time were noted.

    Raises:
        ArchiveError: One has.
    """
    for name, before in times.items():
        if _times(run, [name])[name] != before:
            message = (
                f"{run.path / name}: changed while it was packed. Pack again, to another path."
            )
            raise ArchiveError(message)
