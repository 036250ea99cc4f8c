"""Unpack an archive of a run: each checksum is verified before the run has its name."""

import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import ValidationError

from pipeline.inside import OutsideError, checked
from pipeline.release import hpss
from pipeline.release.archive import ArchiveError
from pipeline.release.archive_manifest import FORMAT, NAME, ArchiveManifest, Member
from pipeline.release.tarring import BLOCK, Hashed, hashed
from pipeline.writing import keep, make_folder

AGAIN = "Fetch the archive again, from where it was written"


@dataclass(frozen=True)
class Restored:
    """The run folder that was restored, its manifest, and what the whole file was held to.

    `sha256` is empty where no file beside the archive says what it should be.
    """

    path: Path
    manifest: ArchiveManifest
    sha256: str


def restore(archive: Path, to: Path) -> Restored:
    """Unpack the file `archive` as a folder in the folder `to`; it has its name once it is whole.

    Raises:
        ArchiveError: It is no archive of a run, or truncated, changed or incomplete; or the run
            folder is there already.
        OutsideError: A member leads out of the folder.
        OSError: The archive cannot be read, or the folder cannot be written.
    """
    wanted = _recorded(archive)
    with archive.open("rb") as raw, _new(to) as made:
        stream = Hashed(raw)
        found = _unpacked(stream, archive, made)
        stream.drain()
        if wanted and stream.sha256 != wanted:
            message = (
                f"{archive}: not what was written (SHA-256 differs from that in {archive.name}"
                f".sha256). {AGAIN}."
            )
            raise ArchiveError(message)
        manifest = _verified(archive, made, found)
        return Restored(_kept(made, manifest, to), manifest, wanted)


def restore_from_hpss(archive: str, to: Path) -> Restored:
    """Do as `restore` for the archive at the path `archive` in HPSS, with htar.

    Raises:
        ArchiveError: As in `restore`; or htar is not here, or fails.
        OSError: The folder cannot be written.
    """
    with _new(to) as made:
        hpss.extract(archive, made)
        files = (each for each in made.rglob("*") if each.is_file() and not each.is_symlink())
        names = [each.relative_to(made).as_posix() for each in files]
        found = {name: hashed(made / name).model_copy(update={"path": name}) for name in names}
        manifest = _verified(Path(archive), made, found)
        return Restored(_kept(made, manifest, to), manifest, "")


@contextmanager
def _new(to: Path) -> Iterator[Path]:
    """Give a hidden folder in `to`, which is removed with all that is left in it."""
    make_folder(to)
    made = to / f".restored.{uuid.uuid4().hex[:8]}.tmp"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _recorded(archive: Path) -> str:
    """Return the SHA-256 that the file beside `archive` says, empty without one.

    Raises:
        ArchiveError: That file holds something else.
    """
    beside = archive.with_name(f"{archive.name}.sha256")
    try:
        words = beside.read_text().split()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        words = []
    if not words or len(words[0]) != 64:
        message = f"{beside}: no SHA-256 as sha256sum writes it. {AGAIN}, with this file."
        raise ArchiveError(message)
    return words[0]


def _unpacked(stream: Hashed, archive: Path, to: Path) -> dict[str, Member]:
    """Unpack all members into the folder `to`; return what was read of each, by its name.

    Raises:
        ArchiveError: It is no tar file, ends too soon, or has a member that is no file or twice.
        OutsideError: A member leads out of the folder.
    """
    found: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload] # only read() is called
            for entry in tar:
                if not entry.isdir() and not entry.name.startswith(hpss.HTARS_MEMBER):
                    _check_entry(entry, archive, found)
                    found[entry.name] = _written(tar, entry, to)
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(_broken(archive, found)) from error
    return found


def _broken(archive: Path, found: dict[str, Member]) -> str:
    if not found:
        return f"{archive}: no tar file, or damaged at its beginning. {AGAIN}."
    last = list(found)[-1]
    return (
        f"{archive}: truncated or damaged after {len(found):,} members, the last {last}. {AGAIN}."
    )


def _check_entry(entry: tarfile.TarInfo, archive: Path, found: dict[str, Member]) -> None:
    """Check that a member is a file in the folder, for the first time.

    Raises:
        ArchiveError: It is no file, or one was there already.
        OutsideError: It leads out of the folder.
    """
    try:
        checked(entry.name)
    except OutsideError as error:
        message = f"{archive}: {error}"
        raise OutsideError(message) from error
    if not entry.isreg():
        message = f"{archive}: {entry.name} is a link or a device, which no archive of a run has."
        raise ArchiveError(message)
    if entry.name in found:
        message = f"{archive}: {entry.name} is there twice, which no archive of a run has."
        raise ArchiveError(message)


def _written(tar: tarfile.TarFile, entry: tarfile.TarInfo, to: Path) -> Member:
    """Write a member below the folder `to` and return what was read of it."""
    path = to / entry.name
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(entry)
    assert source is not None, "it is a file"
    reading = Hashed(source)
    with path.open("xb") as target:
        _copy(reading, target, path)
        if not entry.mode & 0o077:
            path.chmod(0o600)
    if reading.bytes != entry.size:
        message = "too short"
        raise tarfile.ReadError(message)
    os.utime(path, (entry.mtime, entry.mtime))
    return Member(path=entry.name, bytes=reading.bytes, sha256=reading.sha256)


def _copy(reading: Hashed, target: IO[bytes], path: Path) -> None:
    """Copy all of `reading`; an error of the disk names the file `path`."""
    try:
        while block := reading.read(BLOCK):
            target.write(block)
        target.flush()
    except OSError as error:
        if isinstance(error, tarfile.TarError):
            raise
        error.filename = error.filename or str(path)
        raise


def _verified(archive: Path, to: Path, found: dict[str, Member]) -> ArchiveManifest:
    """Return the manifest of an archive whose members are just those that it names, unchanged.

    Raises:
        ArchiveError: They are not.
    """
    manifest = _manifest(archive, to, found)
    top = manifest.run
    wanted = {f"{top}/{each.path}": each for each in manifest.members}
    there = {name: each for name, each in found.items() if name != f"{top}/{NAME}"}
    lost = sorted(wanted.keys() - there.keys())
    more = sorted(there.keys() - wanted.keys())
    changed = sorted(
        name
        for name in wanted.keys() & there.keys()
        if (wanted[name].bytes, wanted[name].sha256) != (there[name].bytes, there[name].sha256)
    )
    for names, what in (
        (changed, "not what was packed (SHA-256 differs)"),
        (lost, "missing"),
        (more, "not in its manifest"),
    ):
        if names:
            others = f", and {len(names) - 1} more" if len(names) > 1 else ""
            message = f"{archive}: {names[0]}: {what}{others}. {AGAIN}."
            raise ArchiveError(message)
    return manifest


def _manifest(archive: Path, to: Path, found: dict[str, Member]) -> ArchiveManifest:
    """Return the manifest among the members that were unpacked into `to`.

    Raises:
        ArchiveError: There is none, it is damaged, or of a later format.
    """
    names = [name for name in found if PurePosixPath(name).parts[1:] == (NAME,)]
    if len(names) != 1:
        message = (
            f"{archive}: ends after {len(found):,} files without {NAME}, the last of an archive: "
            f"truncated, or no archive of a run. {AGAIN}."
        )
        raise ArchiveError(message)
    try:
        manifest = ArchiveManifest.model_validate_json((to / names[0]).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = f"{archive}: {NAME}: {key}: {first['msg']}. Damaged, or of a later version."
        raise ArchiveError(message) from error
    if manifest.format != FORMAT or PurePosixPath(names[0]).parts[0] != manifest.run:
        message = (
            f"{archive}: format {manifest.format} of the run {manifest.run!r}; this version reads "
            f"format {FORMAT}, under the run's own name. Use the version that wrote it."
        )
        raise ArchiveError(message)
    return manifest


def _kept(made: Path, manifest: ArchiveManifest, to: Path) -> Path:
    """Give the run folder its name in `to`, and return it.

    Raises:
        ArchiveError: There is something already.
    """
    path = to / manifest.run
    if os.path.lexists(path):
        message = f"{path}: is there already. Restore into another folder (--to), or move it away."
        raise ArchiveError(message)
    keep(made / manifest.run, path, replaces=False)
    return path
