"""What a user sees of a store: `cosmotron data inspect`, `verify` and `plot`."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from staged_alone import command, ended

from pipeline.cli import main
from pipeline.data.store import Store
from pipeline.data.store.manifest import BINS, MANIFEST
from pipeline.outcome import Exit

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = {"sphenix": "npz", "icecube": "parquet"}


class Told:
    """How a command line ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.words = " ".join((out + err).split())


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `cosmotron data …` in this process."""

    def run(*words: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["cosmotron", "data", *map(str, words)])
        code = main()
        printed = capsys.readouterr()
        return Told(code, printed.out, printed.err)

    return run


def staged(folder: Path, kind: str, *words: object) -> Path:
    """Simulate a few events of an experiment and stage them; return the store."""
    simulated = [sys.executable, "-m", "pipeline", "simulate", kind, str(folder / "made")]
    made = ended([*simulated, "--format", FORMATS[kind], "--events", "12", "--workers", "1"])
    assert made.returncode == 0, made.stderr
    names = "spacepoints_*.npz" if kind == "sphenix" else "batch_*.parquet"
    sources = sorted((folder / "made").rglob(names))
    store = folder / f"{kind}.zarr"
    told = ended(command(store, *sources, "--experiment", kind, "--workers", "1", *words))
    assert told.returncode == 0, told.stderr
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store of each experiment that is simulated here."""
    folder = tmp_path_factory.mktemp("stores")
    more = {"sphenix": ("--neighbours", "3", "--events-per-shard", "5")}
    return {kind: staged(folder / kind, kind, *more.get(kind, ())) for kind in FORMATS}


@pytest.fixture
def copy(stores: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the sPHENIX store, to damage."""
    subprocess.run(["cp", "-r", stores["sphenix"], tmp_path / "copy.zarr"], check=True)
    return tmp_path / "copy.zarr"


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_inspect_says_what_is_in_a_store(data: Any, stores: dict[str, Path]) -> None:
    told = data("inspect", stores["sphenix"])
    assert told.code == 0
    for word in ("experiment sphenix", "schema cosmotron-events/3", "order REP", "neighbours 3"):
        assert word in told.words
    for word in ("splits", "train", "track_id", "int32", "ADC", "268.7093", "arXiv:2508.14087"):
        assert word in told.words
    assert "rejected: " in told.words


def test_inspect_gives_json_for_scripts(data: Any, stores: dict[str, Path]) -> None:
    value = json.loads(data("inspect", stores["sphenix"], "--json").out)
    assert value["experiment"] == "sphenix"
    assert value["entries"] == 12
    (split,) = value["splits"]
    assert split["split"] == "train"
    assert split["events"] + sum(value["rejected"].values()) == 12
    assert split["points per event"] == round(split["points"] / split["events"], 1)
    assert {"points", "offsets", "event_id", "neighbours", "track_id"} <= {
        each["array"] for each in value["arrays"]
    }
    assert [each["name"] for each in value["columns"]] == ["energy", "eta", "phi", "r"]
    paths = [path for path in stores["sphenix"].rglob("*") if path.is_file()]
    assert value["files"] == len(paths)


def test_sources_lists_the_files_with_their_content(data: Any, stores: dict[str, Path]) -> None:
    (row,) = json.loads(data("sources", stores["sphenix"], "--json").out)
    path = Path(row["path"])
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["file"], row["split"], row["entries"]) == (0, "train", 12)
    assert row["first event_id"] == int(row["sha256"][:16], 16) >> 1
    told = data("sources", stores["sphenix"])
    assert told.code == 0
    for word in ("file and place there", row["sha256"][:12], str(row["first event_id"])):
        assert word in told.words
    assert "source_event_id, which numbers all events" in data("sources", stores["icecube"]).words


@pytest.mark.parametrize("kind", FORMATS)
def test_locate_leads_from_an_id_to_file_and_row(
    data: Any, stores: dict[str, Path], kind: str
) -> None:
    shard = Store.open(stores[kind]).shards("train")[-1]
    event_id = int(shard.read(("event_id",))["event_id"][-1])
    (place,) = json.loads(data("locate", stores[kind], event_id, "--json").out)
    assert place["shard"] == shard.record.name
    assert place["index"] == shard.record.events - 1
    assert place["event_id"] == event_id
    told = data("locate", stores[kind], event_id)
    assert told.code == 0
    assert f"{event_id}: row {place['row']} of {place['file']['path']}; split train" in told.words


def test_locate_says_of_an_unknown_id_where_to_look(data: Any, stores: dict[str, Path]) -> None:
    told = data("locate", stores["sphenix"], 7)
    assert told.code == Exit.BAD_INPUT
    assert f"{stores['sphenix']}: no event 7 here." in told.words
    assert f"`cosmotron data sources {stores['sphenix']}`" in told.words
    assert "is no event id; they lie from 0" in data("locate", stores["sphenix"], 2**63).words


def test_verify_finds_a_whole_store_whole(data: Any, stores: dict[str, Path]) -> None:
    for store in stores.values():
        told = data("verify", store)
        assert told.code == 0
        assert "shards match the manifest." in told.words
        assert json.loads(data("verify", store, "--json").out)["damaged"] == []


def test_verify_names_every_file_of_a_shard_that_is_damaged(data: Any, copy: Path) -> None:
    shards = sorted((copy / "train").iterdir())
    changed, missing = shards[0] / "points/c/0/0", shards[-1] / "offsets/c/0"
    flip(changed)
    missing.unlink()
    told = data("verify", copy)
    assert told.code == Exit.BAD_INPUT
    assert f"{changed}: not what was written (SHA-256 differs)" in told.words
    assert f"{missing}: missing." in told.words
    value = json.loads(data("verify", copy, "--json").out)
    assert len(value["damaged"]) == 2


def test_one_bit_in_any_file_of_a_store_is_found_by_name(data: Any, copy: Path) -> None:
    shard = min((copy / "train").iterdir())
    for path in [*(path for path in shard.rglob("*") if path.is_file()), copy / BINS]:
        content = path.read_bytes()
        flip(path)
        told = data("verify", copy)
        assert told.code == Exit.BAD_INPUT, path
        assert f"{path}: not what was written" in told.words
        path.write_bytes(content)
    assert data("verify", copy).code == 0


@pytest.mark.parametrize("verb", ["inspect", "verify", "plot"])
@pytest.mark.parametrize("name", [MANIFEST, BINS])
def test_a_damaged_manifest_or_bin_file_is_named_by_every_verb(
    data: Any, copy: Path, verb: str, name: str
) -> None:
    flip(copy / name)
    told = data(verb, copy)
    assert told.code == Exit.BAD_INPUT
    assert f"{copy / name}: not what was written (SHA-256 differs)" in told.words
    assert told.words.count("error ") == 1


@pytest.mark.parametrize("verb", ["inspect", "verify", "plot"])
def test_a_folder_that_is_no_store_is_told(data: Any, tmp_path: Path, verb: str) -> None:
    told = data(verb, tmp_path)
    assert told.code == Exit.BAD_INPUT
    assert f"{tmp_path}: no store here" in told.words


@pytest.mark.parametrize("kind", FORMATS)
def test_features_and_an_event_are_drawn(
    data: Any, stores: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    told = data("plot", stores[kind], "--output", tmp_path / "pictures", "--event", 1)
    assert told.code == 0, told.err
    drawn = [Path(line) for line in told.out.split()]
    assert [path.name for path in drawn] == [
        f"{kind}-train-features.png",
        f"{kind}-train-event-1.png",
    ]
    for path in drawn:
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5_000


@pytest.mark.parametrize("event", [12_000, -1])
def test_an_event_that_is_not_there_is_told(
    data: Any, stores: dict[str, Path], tmp_path: Path, event: int
) -> None:
    told = data("plot", stores["sphenix"], "--output", tmp_path, "--event", event)
    assert told.code == Exit.BAD_INPUT
    assert f"no event {event} in split 'train', which holds" in told.words


def test_a_split_that_is_not_there_is_told(
    data: Any, stores: dict[str, Path], tmp_path: Path
) -> None:
    told = data("plot", stores["sphenix"], "--output", tmp_path, "--split", "tset")
    assert told.code == Exit.BAD_INPUT
    assert "no split 'tset'; this store has train." in told.words
    assert list(tmp_path.iterdir()) == []
