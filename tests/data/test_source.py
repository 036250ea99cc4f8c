"""Sources that are not here: over HTTP, in an archive that is read by ranges, over XRootD."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from file_servers import serving, xrootd_serving
from made_events import events, stage_task, store

from pipeline import cli
from pipeline.campaign import declare
from pipeline.campaign.sources import _folder, below, found
from pipeline.catalog import DeclarationError
from pipeline.data import source
from pipeline.data.errors import BadInput
from pipeline.data.experiments.sphenix import companions
from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.source import ATTEMPTS, beside, fetched, is_remote, size_of
from pipeline.data.stage import STAGE
from pipeline.masking import masked
from pipeline.outcome import Exit

NAME = "spacepoints_000.npz"
LABELS = companions(NAME)


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr(source, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder that holds raw/ with three labelled files, and archive.zip of 32 MB with them."""
    folder = tmp_path_factory.mktemp("served")
    for number in range(3):
        path = folder / "raw" / f"spacepoints_{number:03d}.npz"
        write_npz(path, events([20, 30, 25, 0, 22], seed=number), labelled=True)
    rest = np.random.default_rng(1).bytes(16_000_000)
    (folder / "rest.bin").write_bytes(rest[:9999])
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("other/a.bin", rest)
        for path in sorted((folder / "raw").iterdir()):
            archive.write(path, f"set/{path.name}")
        archive.writestr("other/b.bin", rest)
    return folder


@pytest.fixture
def server(raw):
    with serving(raw) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "relative", "expected"),
    [
        ("/a/b/c.npz", "d.npz", "/a/b/d.npz"),
        ("c.npz", "d.npz", "d.npz"),
        ("https://h/a/c.npz", "d.npz", "https://h/a/d.npz"),
        ("https://h/a/b/c.npz", "../d.csv", "https://h/a/d.csv"),
        ("https://h/a/b/c.npz", "../../e/d.csv", "https://h/e/d.csv"),
        ("root://h//a/c.npz", "d.npz", "root://h//a/d.npz"),
        ("zip://a/c.npz::https://h/x.zip", "d.npz", "zip://a/d.npz::https://h/x.zip"),
        ("zip://a/c.npz::https://h/x.zip", "../d.npz", "zip://d.npz::https://h/x.zip"),
        ("zip://c.npz::https://h/x.zip", "d.npz", "zip://d.npz::https://h/x.zip"),
    ],
)
def test_what_belongs_to_a_source_is_looked_for_beside_it(name, relative, expected):
    assert beside(name, relative) == expected


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data/raw/", "/data/raw/*.npz"),
        ("https://h/raw", "https://h/raw/*.npz"),
        ("root://h//raw", "root://h//raw/*.npz"),
        ("zip://raw::https://h/x.zip", "zip://raw/*.npz::https://h/x.zip"),
    ],
)
def test_patterns_are_taken_below_a_folder_or_an_address(folder, expected):
    assert below(folder, "*.npz") == expected


def test_addresses_are_told_from_paths():
    assert is_remote("https://h/a.root")
    assert is_remote("zip://a.npz::/here/x.zip")
    assert not is_remote("/data/a.root")


def test_names_without_wildcards_are_taken_as_they_are():
    assert found("https://nowhere.invalid/a.npz") == ("https://nowhere.invalid/a.npz",)
    assert found("/nowhere/a.npz") == ("/nowhere/a.npz",)


def test_patterns_match_what_is_here_what_is_listed_and_what_is_in_an_archive(raw, server):
    names = [f"spacepoints_{number:03d}.npz" for number in range(3)]
    here = found(f"{raw}/raw/spacepoints_*.npz")
    assert here == tuple(f"{raw}/raw/{name}" for name in names)
    listed = found(f"{server.address}/raw/spacepoints_*.npz")
    assert listed == tuple(f"{server.address}/raw/{name}" for name in names)
    archive = f"{server.address}/archive.zip"
    packed = found(f"zip://set/spacepoints_*.npz::{archive}")
    assert packed == tuple(f"zip://set/{name}::{archive}" for name in names)


def test_an_address_that_cannot_be_listed_is_told(server):
    with pytest.raises(DeclarationError, match=r"archive.zip: cannot be listed .*name each file"):
        found(f"zip://*.npz::{server.address}/no/archive.zip")


def got(name, folder, names=LABELS):
    """Fetch `name`; return what is there meanwhile, and check that nothing of it stays."""
    with fetched(name, names, folder) as path:
        there = {each.name: each.read_bytes() for each in path.parent.iterdir()}
        assert path.name in there
    assert not folder.exists()
    return there


def expected_files(raw):
    return {name: (raw / "raw" / name).read_bytes() for name in (NAME, *LABELS)}


def test_a_file_here_is_read_where_it_is(raw, tmp_path):
    with fetched(str(raw / "raw" / NAME), LABELS, tmp_path / "fetch") as path:
        assert path == raw / "raw" / NAME
        assert not (tmp_path / "fetch").exists()


def test_a_file_is_fetched_over_http_with_what_belongs_to_it(raw, server, tmp_path):
    name = f"{server.address}/raw/{NAME}"
    assert got(name, tmp_path / "fetch") == expected_files(raw)
    assert size_of(name) == (raw / "raw" / NAME).stat().st_size


def test_what_belongs_to_a_file_may_be_absent_or_in_the_folder_above(raw, server, tmp_path):
    name = f"{server.address}/raw/{NAME}"
    folder = tmp_path / "fetch"
    with fetched(name, ("no_such.npz", "../archive.zip"), folder) as path:
        assert [each.name for each in path.parent.iterdir()] == [NAME]
        assert (folder / "archive.zip").stat().st_size == (raw / "archive.zip").stat().st_size


def test_of_an_archive_only_the_members_are_transferred(raw, server, tmp_path):
    name = f"zip://set/{NAME}::{server.address}/archive.zip"
    assert got(name, tmp_path / "fetch") == expected_files(raw)
    assert 0 < server.sent < 0.1 * (raw / "archive.zip").stat().st_size


def test_what_a_killed_fetch_left_goes_first(raw, server, tmp_path):
    folder = tmp_path / "fetch"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "half").write_text("half")
    assert "half" not in got(f"{server.address}/raw/{NAME}", folder)


@pytest.mark.parametrize("trouble", ["drop", "short", 503], ids=str)
def test_a_short_trouble_of_the_server_is_outwaited(raw, server, tmp_path, trouble):
    server.trouble[f"/raw/{NAME}"] = [trouble, trouble]
    assert got(f"{server.address}/raw/{NAME}", tmp_path / "fetch") == expected_files(raw)
    assert server.trouble[f"/raw/{NAME}"] == []


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("drop", "cannot be fetched (Response payload is not completed"),
        ("short", "bytes came), tried"),
        (503, "cannot be fetched (503"),
    ],
    ids=["drop", "short", "503"],
)
def test_a_lasting_trouble_of_the_server_is_told(server, tmp_path, trouble, reason):
    server.trouble[f"/raw/{NAME}"] = [trouble] * 99
    name = f"{server.address}/raw/{NAME}"
    with pytest.raises(BadInput) as told:
        got(name, tmp_path / "fetch")
    message = str(told.value)
    assert message.startswith(f"{name}: ")
    assert reason in message
    assert f"tried {ATTEMPTS} times. Check the network" in message
    assert "\n" not in message
    assert not (tmp_path / "fetch").exists()


@pytest.mark.parametrize("status", [500, 403])
def test_labels_that_a_server_does_not_give_are_not_taken_for_absent(server, tmp_path, status):
    server.trouble[f"/raw/{LABELS[0]}"] = [status] * 99
    with pytest.raises(BadInput, match=rf"{LABELS[0]}: cannot be fetched \({status}"):
        got(f"{server.address}/raw/{NAME}", tmp_path / "fetch")
    assert not (tmp_path / "fetch").exists()


@pytest.mark.parametrize(
    "name", ["{}/raw/no.npz", "zip://set/no.npz::{}/archive.zip", "zip://a.npz::{}/no.zip"]
)
def test_what_is_not_there_is_told_at_once(server, tmp_path, name):
    name = name.format(server.address)
    with pytest.raises(BadInput, match=r"not there\. Check the address\."):
        got(name, tmp_path / "fetch")
    assert not (tmp_path / "fetch").exists()
    with pytest.raises(BadInput, match="not there"):
        size_of(name)


def test_an_archive_that_is_none_is_told(server, tmp_path):
    with pytest.raises(BadInput, match=r"rest.bin: cannot be fetched \(File is not a zip file\)"):
        got(f"zip://a.npz::{server.address}/rest.bin", tmp_path / "fetch", ())


def test_a_server_that_does_not_answer_is_told(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
    with pytest.raises(BadInput, match=rf"cannot be fetched \(Cannot connect.*tried {ATTEMPTS}"):
        got(name, tmp_path / "fetch")
    assert not (tmp_path / "fetch").exists()


@pytest.mark.parametrize("name", ["gopher://h/a.npz", "ftq://h/a.npz"])
def test_an_address_of_no_known_kind_names_those_that_are(tmp_path, name):
    with pytest.raises(BadInput, match=r"not an address that can be read .*Known: https://, root"):
        got(name, tmp_path / "fetch")


def test_a_path_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"no.npz: cannot be read \(No such file or directory\)"):
        size_of(str(tmp_path / "no.npz"))


def shards(path):
    """Return the content of the files of all shards and of the bins' edges."""
    return {
        each.relative_to(path).as_posix(): each.read_bytes()
        for each in path.glob("*/*/**/*")
        if each.is_file()
    }


@pytest.mark.parametrize("kind", ["http", "zip"])
def test_what_is_staged_from_afar_is_what_is_staged_from_disk(raw, server, tmp_path, kind):
    names = [f"spacepoints_{number:03d}.npz" for number in range(3)]
    place = {"http": "{1}/raw/{0}", "zip": "zip://set/{0}::{1}/archive.zip"}[kind]
    here = store(tmp_path, {"train": [raw / "raw" / name for name in names]}, name="here")
    addresses = [place.format(name, server.address) for name in names]
    there = store(tmp_path, {"train": addresses}, name="there")
    assert shards(there.path) == shards(here.path)
    assert "track_id" in there.shards("train")[0].record.arrays
    records = [(each.path, each.bytes, each.sha256) for each in there.manifest.sources]
    assert [path for path, _, _ in records][::4] == addresses
    assert [rest for _, *rest in records] == [
        [each.bytes, each.sha256] for each in here.manifest.sources
    ]
    assert list((tmp_path / "stage-there").glob("fetch*")) == []


def test_a_source_that_fails_in_between_ends_staging_with_its_address(server, tmp_path, capsys):
    names = [f"{server.address}/raw/spacepoints_{number:03d}.npz" for number in range(2)]
    folder, _ = stage_task(tmp_path, {"train": names})
    assert run(STAGE, [str(folder.path), "--begin"]) == 0
    server.trouble["/raw/spacepoints_001.npz"] = ["drop"] * 99
    assert run(STAGE, [str(folder.path), "--part", "1"]) == Exit.BAD_INPUT
    told = capsys.readouterr().err
    assert told.startswith(names[1])
    assert told.count("\n") == 1
    assert list(folder.path.glob("fetch*")) == []
    server.trouble.clear()
    assert run(STAGE, [str(folder.path), "--part", "1"]) == 0


@pytest.fixture(scope="module")
def xrootd(raw):
    """The address of a real XRootD server of `raw`; COSMOTRON_REQUIRE_SLURM=1 forbids skipping."""
    give_up = pytest.fail if os.environ.get("COSMOTRON_REQUIRE_SLURM") == "1" else pytest.skip
    if shutil.which("xrootd") is None:
        give_up("no xrootd here: make servers installs it, as root on Debian")
    pytest.importorskip("fsspec_xrootd")
    # Not below pytest's own folders, which are their owner's alone.
    with tempfile.TemporaryDirectory() as name:
        served, own = Path(name) / "served", Path(name) / "own"
        shutil.copytree(raw, served)
        own.mkdir()
        for each in (Path(name), served):
            each.chmod(0o755)
        with xrootd_serving(served, own) as address:
            yield address


def test_files_are_found_and_fetched_over_xrootd(raw, xrootd, tmp_path):
    names = found(f"{xrootd}/raw/spacepoints_*.npz")
    assert [name.rpartition("/")[2] for name in names] == [
        f"spacepoints_{number:03d}.npz" for number in range(3)
    ]
    assert all(name.startswith(f"{xrootd}/raw/") for name in names)
    assert got(names[0], tmp_path / "fetch") == expected_files(raw)
    assert size_of(names[0]) == (raw / "raw" / NAME).stat().st_size
    assert got(f"zip://set/{NAME}::{xrootd}/archive.zip", tmp_path / "f") == expected_files(raw)


def test_what_is_staged_over_xrootd_is_what_is_staged_from_disk(raw, xrootd, tmp_path):
    here = store(tmp_path, {"train": [raw / "raw" / NAME]}, name="here")
    there = store(tmp_path, {"train": [f"{xrootd}/raw/{NAME}"]}, name="there")
    assert shards(there.path) == shards(here.path)
    assert list((tmp_path / "stage-there").glob("fetch*")) == []


def test_what_is_not_there_over_xrootd_is_told_at_once(xrootd, tmp_path):
    found(f"{xrootd}/raw/*.npz")  # listings are remembered
    for name in (f"{xrootd}/raw/no.npz", f"{xrootd}/no/no.npz"):
        with pytest.raises(BadInput, match=r"no\.npz: not there\. Check the address\."):
            got(name, tmp_path / "fetch")
        with pytest.raises(BadInput, match="not there"):
            size_of(name)


REFUSED = """
from pipeline.data import source
source.FIRST_WAIT_SECONDS = 0.01
try:
    source.size_of("root://localhost:1//raw/a.npz")
except source.BadInput as error:
    print(error)
"""


def test_an_xrootd_server_that_does_not_answer_is_told():
    pytest.importorskip("fsspec_xrootd")
    quick = {"XRD_CONNECTIONWINDOW": "1", "XRD_STREAMERRORWINDOW": "0"}
    told = subprocess.run(
        [sys.executable, "-c", REFUSED],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **quick},
    ).stdout  # fmt: skip
    assert told.startswith("root://localhost:1//raw/a.npz: cannot be fetched (")
    assert told.endswith("and give its path.\n")
    assert told.count("\n") == 1


def test_an_address_with_a_query_is_that_file_with_what_belongs_to_it(raw, server, tmp_path):
    name = f"{server.address}/raw/{NAME}?download=1"  # as Zenodo's are
    assert found(name) == (name,)
    assert got(name, tmp_path / "fetch") == expected_files(raw)
    staged = store(tmp_path, {"train": [name]})
    assert staged.manifest.sources[0].path == name
    assert "track_id" in staged.shards("train")[0].record.arrays


def test_a_member_of_an_archive_whose_name_looks_like_a_pattern_is_that_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("r[12].npz", "r1.npz", "r2.npz"):
            archive.writestr(f"set/{name}", name)
    address = f"zip://set/r[12].npz::{tmp_path}/a.zip"
    assert found(address) == (address,)


SECRET = "Sec7ret9"


@pytest.fixture
def hidden(raw, monkeypatch):
    """A server whose folder of events has a secret name; how a campaign may write its address."""
    (raw / SECRET).mkdir(exist_ok=True)
    for path in (raw / "raw").glob("*_000*"):
        shutil.copy(path, raw / SECRET)
    monkeypatch.setenv("MY_FOLDER", SECRET)
    with serving(raw) as running:
        host = running.address.removeprefix("http://")
        yield {
            "variable": f"http://{host}/$MY_FOLDER/{NAME}",
            "user": f"http://me:{SECRET}@{host}/raw/{NAME}",
            "signature": f"http://{host}/raw/{NAME}?X-Amz-Signature={SECRET}",
        }


def holding(folder, secret):
    """The files below a folder that hold a secret, and whether others may read them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [path for path in files if secret.encode() in path.read_bytes()]
    return {path.name: path.stat().st_mode & 0o077 for path in found}


@pytest.mark.parametrize("kind", ["variable", "user", "signature"])
def test_a_secret_of_an_address_opens_the_file_and_is_not_published(hidden, tmp_path, kind, capsys):
    made = store(tmp_path, {"train": [hidden[kind]]})
    assert made.manifest.sources[0].path == masked(hidden[kind])
    own = {} if kind == "variable" else {"task.toml": 0}  # what was declared, for its owner alone
    assert holding(tmp_path, SECRET) == own
    assert main_of("data", "sources", str(made.path), "--json") == 0
    assert SECRET not in "".join(capsys.readouterr())


def main_of(*words):
    """Return the exit code of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cosmotron", *words])
        return cli.main()


@pytest.mark.parametrize("kind", ["variable", "user", "signature"])
def test_a_secret_of_an_address_is_in_no_error(hidden, tmp_path, kind, capsys):
    folder, _ = stage_task(tmp_path, {"train": [hidden[kind].replace(NAME, "absent.npz")]})
    assert run(STAGE, [str(folder.path), "--begin"]) == Exit.BAD_INPUT
    assert run(STAGE, [str(folder.path), "--part", "0"]) == Exit.BAD_INPUT
    told = "".join(capsys.readouterr())
    assert "absent.npz" in told
    assert SECRET not in told
    assert SECRET not in folder.result.read_text()
    wrong = hidden[kind].replace("http:", "gopher:").replace(NAME, "*.npz")
    assert main_of("stage", str(tmp_path / "a.zarr"), wrong) != 0
    assert SECRET not in "".join(capsys.readouterr())


def test_what_a_pattern_with_a_variable_matches_keeps_the_variable(hidden, raw, monkeypatch):
    folder = hidden["variable"].removesuffix(NAME)
    assert found(folder + "space*_000.npz") == (folder + NAME,)
    with pytest.raises(DeclarationError, match="put variables before the first wildcard"):
        found(folder.replace("$MY_FOLDER", "*/$MY_FOLDER") + "*.npz")
    monkeypatch.delenv("MY_FOLDER")
    with pytest.raises(DeclarationError, match=r"the variable \$MY_FOLDER is not set here"):
        found(folder + "*.npz")
    with (
        pytest.raises(BadInput, match=r"jobs get the environment that they are submitted in"),
        fetched(folder + NAME, (), raw / "fetch"),
    ):
        pass


def test_an_address_may_not_hide_in_a_variable(monkeypatch):
    monkeypatch.setenv("ALL_OF_IT", "https://host/folder")
    with pytest.raises(DeclarationError, match="hides the scheme of an address"):
        _folder("$ALL_OF_IT/x")


def test_a_task_that_an_earlier_version_wrote_with_a_secret_is_the_same_and_loses_it(
    hidden, tmp_path
):
    folder, task = stage_task(tmp_path, {"train": [hidden["variable"]]})
    text = folder.declaration.read_text()
    folder.declaration.write_text(os.path.expandvars(text))
    assert SECRET in folder.declaration.read_text()
    declare(folder, task)
    assert folder.declaration.read_text() == text
