"""Archives of runs: what is in them, what is not, and how they come back."""

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.claims import claimed
from pipeline.inside import OutsideError
from pipeline.outcome import BusyError
from pipeline.records import Trained
from pipeline.release import hpss
from pipeline.release.archive import ArchiveError, pack
from pipeline.release.archive_manifest import NAME
from pipeline.release.restore import restore, restore_from_hpss
from pipeline.run import Run

TRAINED, OPEN = "pretrain/m-d4-s1", "pretrain/m-d4-s2"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a finished training and one that has begun; its contents are made up."""
    made = Run(tmp_path / "runs", "c")
    files = {
        "campaign.toml": 'name = "c"\n\n[datasets.ours]\nfolder = "/raw/jets"\n',
        "notes.txt": "mine",
        "data/ours.zarr/manifest.json": "{}",
        "data/ours.zarr/bins.json": "{}",
        "data/ours.zarr/train/00000-000/points/c/0": "many points",
        "stage/ours/task.toml": "",
        "simulate/s/files/a.npz": "simulated",
        "evaluate/no-longer-asked/result.json": "{}",
        "evaluate/no-longer-asked/predictions.parquet": "of every event",
        "evaluate/begun/predictions.parts/000000.parquet": "of some",
        "code/0123/pipeline/__init__.py": "",
        "code/0123/pipeline/__pycache__/__init__.pyc": "",
        "parsl/000/parsl.log": "",
        "replaced/001/pretrain/m/checkpoints/step-000000000004/state.pt": "old",
        "replaced/001/pretrain/m/weights.safetensors": "old",
        f"{TRAINED}/.weights.safetensors.host.1.tmp": "half",
        f"{TRAINED}/weights.safetensors": "weights",
        f"{TRAINED}/checkpoints/step-000000000008/state.pt": "state",
        f"{TRAINED}/logs/a.log": "step 1",
        f"{OPEN}/checkpoints/step-000000000004/state.pt": "state",
        f"{OPEN}/fetch-00001/raw.npz": "raw",
    }
    for name, content in files.items():
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_text(content)
    made.identify()
    made.task(TRAINED).finish(Trained(steps=2))
    os.utime(made.task(TRAINED).result, (1e9, 1e9))
    with claimed(made.task(TRAINED).claim):
        pass
    return made


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def test_what_is_kept_and_what_is_named(run: Run, tmp_path: Path) -> None:
    packed = pack(run, tmp_path / "c.tar")
    kept = {name.removeprefix("c/") for name in names(tmp_path / "c.tar")}
    assert kept == {
        *("campaign.toml", "identity", "notes.txt", NAME, "stage/ours/task.toml"),
        *("data/ours.zarr/manifest.json", "data/ours.zarr/bins.json"),
        *("evaluate/no-longer-asked/result.json", "code/0123/pipeline/__init__.py"),
        "evaluate/no-longer-asked/predictions.parquet",
        "replaced/001/pretrain/m/weights.safetensors",
        *(f"{TRAINED}/{name}" for name in ("weights.safetensors", "result.json", "DONE")),
        *(f"{TRAINED}/logs/a.log", f"{OPEN}/checkpoints/step-000000000004/state.pt"),
    }
    left = {each.path: (each.files, each.bytes, each.again) for each in packed.manifest.left_out}
    again = "cosmotron run makes it again ({}) if a task needs it"
    trained = "its weights are packed; only to train longer"
    assert left == {
        "data/ours.zarr/train": (1, 11, again.format("stage/ours")),
        "simulate/s/files": (1, 9, again.format("simulate/s")),
        f"{TRAINED}/checkpoints": (1, 5, trained),
        "replaced/001/pretrain/m/checkpoints": (1, 3, trained),
    }
    assert [each.path for each in packed.manifest.elsewhere] == ["/raw/jets"]


def test_checksums_inside_and_beside(run: Run, tmp_path: Path) -> None:
    packed = pack(run, tmp_path / "c.tar")
    content = (tmp_path / "c.tar").read_bytes()
    assert packed.sha256 == hashlib.sha256(content).hexdigest()
    assert packed.bytes == len(content)
    assert (tmp_path / "c.tar.sha256").read_text() == f"{packed.sha256}  c.tar\n"
    with tarfile.open(tmp_path / "c.tar") as tar:
        manifest = json.load(tar.extractfile(f"c/{NAME}") or pytest.fail("no manifest"))
    (weights,) = (
        each for each in manifest["members"] if each["path"].endswith("1/weights.safetensors")
    )
    assert weights["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_it_comes_back_as_it_was(run: Run, tmp_path: Path) -> None:
    packed = pack(run, tmp_path / "c.tar")
    found = restore(tmp_path / "c.tar", tmp_path / "back")
    assert found.sha256 == packed.sha256
    assert found.path == tmp_path / "back" / "c"
    for each in packed.manifest.members:
        assert (found.path / each.path).read_bytes() == (run.path / each.path).read_bytes()
    assert (found.path / TRAINED / "result.json").stat().st_mtime == 1e9
    assert not list((tmp_path / "back").glob(".*"))


def test_what_was_left_out_once_is_named_again(run: Run, tmp_path: Path) -> None:
    first = pack(run, tmp_path / "c.tar").manifest
    back = restore(tmp_path / "c.tar", tmp_path / "back").path
    second = pack(Run(back.parent, "c"), tmp_path / "again.tar").manifest
    assert {each.path for each in second.left_out} == {each.path for each in first.left_out}


def test_checkpoints_that_a_branch_begins_from_are_kept(run: Run, tmp_path: Path) -> None:
    run.task(OPEN).declaration.write_text(f'[trunk]\nfolder = "<run>/{TRAINED}"\n')
    pack(run, tmp_path / "c.tar")
    assert f"c/{TRAINED}/checkpoints/step-000000000008/state.pt" in names(tmp_path / "c.tar")


def test_links_and_large_logs_are_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.release.keeping.LARGE_LOG_BYTES", 3)
    (run.path / "data/far.zarr").symlink_to(tmp_path)
    (run.path / "far.txt").symlink_to(tmp_path / "there.txt")
    left = {each.path: each for each in pack(run, tmp_path / "c.tar").manifest.left_out}
    assert left["data/far.zarr"].what == f"a link to {tmp_path}"
    assert left["far.txt"].again == "not followed: copy what it leads to, if you need it"
    assert left[f"{TRAINED}/logs/a.log"].what == "a log of more than 32 MiB"


def test_a_secret_stays_its_owners(run: Run, tmp_path: Path) -> None:
    run.declaration.chmod(0o600)
    assert pack(run, tmp_path / "c.tar").is_private
    assert stat.S_IMODE((tmp_path / "c.tar").stat().st_mode) == 0o600
    back = restore(tmp_path / "c.tar", tmp_path / "back").path
    assert stat.S_IMODE((back / "campaign.toml").stat().st_mode) == 0o600


def test_a_run_at_work_is_packed_only_if_asked(run: Run, tmp_path: Path) -> None:
    about = {"site": "local", "stage": "pretrain", "task": OPEN, "job_key": "k", "job_id": "47"}
    Ledger(run.ledger).append(Record(kind=Kind.SUBMIT, time=1, **about))
    with claimed(run.claim):
        with pytest.raises(BusyError) as caught:
            pack(run, tmp_path / "c.tar")
        controller, job, *_ = str(caught.value).splitlines()[1:]
        assert f"process {os.getpid()}" in controller
        assert job == f"  - {OPEN}, job 47 on local (submitted)"
        assert "--while-running" in str(caught.value)
        assert not list(tmp_path.glob("*c.tar*"))
        packed = pack(run, tmp_path / "c.tar", while_running=True)
    assert packed.manifest.at_work == (controller.removeprefix("  - "), job.removeprefix("  - "))
    assert restore(tmp_path / "c.tar", tmp_path / "b").manifest.at_work == packed.manifest.at_work


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    for name in ("c.tar", "c.tar.sha256"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ArchiveError, match=f"{name}: is there already. Name another"):
            pack(run, tmp_path / "c.tar")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no run to pack; campaign\.toml is not there"):
        pack(Run(tmp_path, "c"), tmp_path / "c.tar")


def test_a_file_that_becomes_shorter_meanwhile(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = run.path / TRAINED / "logs/a.log"
    whole = os.fstat

    def grown(descriptor: int) -> os.stat_result:
        found = whole(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink() == log:
            return os.stat_result((*found[:6], found.st_size + 1, *found[7:]))
        return found

    monkeypatch.setattr("pipeline.release.tarring.os.fstat", grown)
    with pytest.raises(ArchiveError, match=r"a\.log: changed while it was packed"):
        pack(run, tmp_path / "c.tar")
    assert not list(tmp_path.glob("*c.tar*")), "nothing that looks whole"


def test_a_full_disk_names_the_archive_and_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.release.tarring.Hashed.write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        pack(run, tmp_path / "c.tar")
    assert caught.value.filename == str(tmp_path / "c.tar")
    assert not list(tmp_path.glob("*c.tar*"))


Damage = Callable[[Path], object]


def _truncated(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        (weights,) = (each for each in tar if each.name == f"c/{TRAINED}/weights.safetensors")
    os.truncate(archive, weights.offset_data + 3)


def _truncated_between(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        (weights,) = (each for each in tar if each.name == f"c/{TRAINED}/weights.safetensors")
    os.truncate(archive, weights.offset)


def _changed(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        (notes,) = (each for each in tar if each.name == "c/notes.txt")
    with archive.open("r+b") as stream:
        stream.seek(notes.offset_data)
        stream.write(b"M")


def _no_archive(archive: Path) -> None:
    archive.write_text("hello")


def _rewritten(change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]) -> Damage:
    """Write the archive anew, each header changed, without those of which nothing is returned."""

    def damage(archive: Path) -> None:
        other = archive.with_suffix(".other")
        with tarfile.open(archive) as old, tarfile.open(other, "w") as new:
            for entry in old:
                content = old.extractfile(entry)
                kept = change(entry)
                if kept is not None:
                    new.addfile(kept, content if kept.isreg() else None)
        other.rename(archive)

    return damage


def _is(entry: tarfile.TarInfo, name: str) -> bool:
    return entry.name.endswith(name)


def _outside(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    return entry.replace(name="../evil") if _is(entry, "notes.txt") else entry


def _absolute(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    return entry.replace(name="/etc/evil") if _is(entry, "notes.txt") else entry


def _link(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    if _is(entry, "notes.txt"):
        entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
    return entry


def _lost(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _is(entry, "notes.txt") else entry


def _foreign(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    return entry.replace(name="c/other") if _is(entry, "notes.txt") else entry


def _without_manifest(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _is(entry, NAME) else entry


def _twice(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    return entry.replace(name="c/identity") if _is(entry, "notes.txt") else entry


@pytest.mark.parametrize(
    ("damage", "beside", "message"),
    [
        (_truncated, False, "c.tar: truncated or damaged after "),
        (_truncated, True, "c.tar: truncated or damaged after "),
        (_truncated_between, False, "without ARCHIVE.json, the last of an archive: truncated, or"),
        (_changed, True, "c.tar: not what was written (SHA-256 differs from that in c.tar.sha256)"),
        (_changed, False, "c/notes.txt: not what was packed (SHA-256 differs)"),
        (_no_archive, False, "c.tar: no tar file, or damaged at its beginning"),
        (_rewritten(_outside), False, "c.tar: '../evil' is no name in its folder"),
        (_rewritten(_absolute), False, "c.tar: '/etc/evil' is no name in its folder"),
        (_rewritten(_link), False, "c/notes.txt is a link or a device"),
        (_rewritten(_lost), False, "c/notes.txt: missing. Fetch the archive again"),
        (_rewritten(_foreign), False, "c/notes.txt: missing. Fetch the archive again"),
        (
            _rewritten(_without_manifest),
            False,
            "without ARCHIVE.json, the last of an archive: truncated, or",
        ),
        (_rewritten(_twice), False, "c/identity is there twice"),
    ],
)
def test_a_damaged_archive_is_refused_and_leaves_nothing(
    run: Run, tmp_path: Path, damage: Damage, beside: bool, message: str
) -> None:
    archive = tmp_path / "c.tar"
    pack(run, archive)
    damage(archive)
    if not beside:
        archive.with_name("c.tar.sha256").unlink()
    with pytest.raises((ArchiveError, OutsideError)) as caught:
        restore(archive, tmp_path / "back")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "back").iterdir())
    assert not (tmp_path / "evil").exists()


def test_a_sum_that_is_none(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "c.tar")
    (tmp_path / "c.tar.sha256").write_text("gone\n")
    with pytest.raises(ArchiveError, match="no SHA-256 as sha256sum writes it"):
        restore(tmp_path / "c.tar", tmp_path / "back")


def test_a_run_that_is_there_stays(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "c.tar")
    with pytest.raises(ArchiveError, match=r"runs/c: is there already\. Restore into another"):
        restore(tmp_path / "c.tar", run.root)
    assert (run.path / "notes.txt").read_text() == "mine"
    assert not list(run.root.glob(".*"))


def test_a_format_of_a_later_version(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(run, tmp_path / "c.tar")
    monkeypatch.setattr("pipeline.release.restore.FORMAT", 0)
    with pytest.raises(ArchiveError, match="Use the version that wrote it"):
        restore(tmp_path / "c.tar", tmp_path / "back")


@pytest.fixture
def htar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for htar with its documented options, on a folder in place of HPSS."""
    programs, store = tmp_path / "bin", tmp_path / "hpss"
    programs.mkdir()
    store.mkdir()
    program = programs / "htar"
    program.write_text(HTAR.format(store=store))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    return store


# As HTAR does: -c overwrites, -L has a name a line, and its own member is added.
HTAR = """#!/usr/bin/env python3
import getopt, os, pathlib, sys, tarfile
options, rest = getopt.getopt(sys.argv[1:], "ctxPf:H:L:")
given = dict(options)
assert not rest, rest
archive = pathlib.Path("{store}") / given["-f"]
with open("{store}/calls", "a") as calls:
    calls.write(" ".join(name + value for name, value in options if name != "-L") + "\\n")
if "-t" in given or "-x" in given:
    if not archive.exists():
        sys.exit("HTAR: could not open " + given["-f"])
    with tarfile.open(archive) as tar:
        if "-x" in given:
            tar.extractall(members=[each for each in tar if not each.name.startswith("/")])
    sys.exit(0)
assert "-c" in given and "-P" in given
archive.parent.mkdir(parents=True, exist_ok=True)
with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
    for name in pathlib.Path(given["-L"]).read_text().splitlines():
        tar.add(name, recursive=False)
    check = tarfile.TarInfo("/tmp/HTAR_CF_CHK_17953_1317760775")
    tar.addfile(check)
if os.environ.get("HTAR_FAILS"):
    print("HTAR: name too long for tar archive- file omitted\\nHTAR: HTAR SUCCESSFUL")
    sys.exit(70)
"""


def test_into_hpss_and_back(run: Run, tmp_path: Path, htar: Path) -> None:
    packed = hpss.pack(run, "runs/c.tar")
    assert (htar / "calls").read_text().splitlines() == [
        "-t -fruns/c.tar",
        "-c -P -fruns/c.tar -Hcrc -Hverify=1",
    ]
    assert packed.sha256 == ""
    with pytest.raises(ArchiveError, match=r"runs/c\.tar: is there already in HPSS"):
        hpss.pack(run, "runs/c.tar")
    found = restore_from_hpss("runs/c.tar", tmp_path / "back")
    assert found.manifest.members == packed.manifest.members
    fetched = restore(htar / "runs/c.tar", tmp_path / "fetched")
    assert fetched.manifest.members == packed.manifest.members
    assert (fetched.path / "notes.txt").read_text() == "mine"


def test_what_htar_does_not_take_is_told_first(
    run: Run, htar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hpss, "MOST_BYTES", 10)
    with pytest.raises(ArchiveError, match="larger than 64 GiB, which HTAR does not take"):
        hpss.pack(run, "c.tar")
    monkeypatch.undo()
    (run.path / "evaluate" / ("x" * 120)).mkdir()
    (run.path / "evaluate" / ("x" * 120) / ("y" * 120)).write_text("")
    monkeypatch.setenv("PATH", str(htar.parent / "bin"), prepend=os.pathsep)
    with pytest.raises(ArchiveError, match="too long a name for HTAR"):
        hpss.pack(run, "c.tar")
    assert not (htar / "c.tar").exists()


def test_a_failure_of_htar_is_told_whatever_it_says(
    run: Run, htar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTAR_FAILS", "1")
    with pytest.raises(ArchiveError, match=r"exit code 70: .*file omitted / HTAR: HTAR SUCCESS"):
        hpss.pack(run, "c.tar")


def test_without_htar(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ArchiveError, match="htar: not found here"):
        hpss.pack(run, "c.tar")
