"""What other tools read of a run: its RO-Crate, and a Croissant file for each store."""

import hashlib
import json
import sys

import mlcroissant
import pytest
from made_results import staged
from rocrate.rocrate import ROCrate

from pipeline import records
from pipeline.budget.ledger import Ledger
from pipeline.campaign import Campaign
from pipeline.campaign.provenance import Provenance
from pipeline.data.experiment import Column
from pipeline.data.store.manifest import (
    ArrayRecord,
    Manifest,
    ShardRecord,
    SourceRecord,
    write_manifest,
)
from pipeline.outcome import Exit, RunError
from pipeline.records import Evaluated, PredictionsFile
from pipeline.release.provenance import write_provenance
from pipeline.writing import write_json

COMMIT = "c0ffee1234" * 4
CITED = "TPCpp-10M, https://doi.org/10.5281/zenodo.16970029"
ARRAYS = {
    "points": ("float32", "point", 2),
    "track_id": ("int32", "point", 0),
    "neighbours": ("int16", "point", 5),
    "noise": ("bool", "point", 0),
    "offsets": ("int64", "boundary", 0),
    "event_id": ("int64", "event", 0),
    "zenith": ("float64", "event", 0),
}


def make_store(run, name, **splits):
    """Write a store that holds nothing but its manifest, and a table beside the shards."""
    store = run.store(name)
    (store / "train/00000-000").mkdir(parents=True)
    (store / "tables.npz").write_bytes(b"tables")
    source = run.task("simulate/collisions").path.absolute() / "files/train/pp200_000.root"
    arrays = {
        array: ArrayRecord(dtype=dtype, per=per, width=width)
        for array, (dtype, per, width) in ARRAYS.items()
    }
    shard = {"split": "train", "name": "00000-000", "files": {"points/c/0/0": "5e" * 32}}
    manifest = Manifest(
        experiment="sphenix",
        columns=(
            Column(name="energy", unit="ADC", offset=253.1, scale=268.7, provenance="FM4NPP"),
            Column(name="r", unit="cm", offset=31.4, scale=44.0, provenance="FM4NPP"),
        ),
        order="REP",
        neighbours=5,
        min_points=1,
        max_points=4096,
        fractions={},
        files={"tables.npz": hashlib.sha256(b"tables").hexdigest()},
        sources=(
            SourceRecord(path=str(source), bytes=4, sha256="ab" * 32, entries=250),
            SourceRecord(path="https://x.org/a b.npz", bytes=9, sha256="cd" * 32, entries=9),
        ),
        rejected={"too_many_points": 3},
        events=splits,
        points={split: 856 * count for split, count in splits.items()},
        shards=(ShardRecord(events=9, points=7704, arrays=arrays, **shard),),
    )
    write_manifest(store, manifest)
    return manifest


@pytest.fixture
def described(whole):
    """A whole run with stores that verify, weights, simulated files, and a commit to name."""
    make_store(whole, "unlabelled", train=998)
    make_store(whole, "labelled", train=249, test=125)
    for path in whole.path.glob("*/*/result.json"):
        if path.parent.parent.name in ("pretrain", "finetune"):
            (path.parent / "weights.safetensors").write_bytes(b"weights")
        if path.parent.parent.name == "simulate":
            (path.parent / "files").mkdir()
    packages = {"cosmotron": "0.1.0", "torch": "2.13.0+cpu", "deepspeed": "not installed here"}
    environment = {"commit": COMMIT, "python": "3.11.7", "packages": packages}
    write_json(whole.environment, environment)
    whole.declaration.write_text('name = "quickstart"\n')
    return whole


def opened(run):
    """Return the crate of `run` as its library reads it."""
    return ROCrate(str(run.path))


def references(node):
    """Yield each @id that a property of `node` points to."""
    for value in node.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield each["@id"]


def ids(entities):
    """Return the ids of what a property of a crate points to, one thing or a list."""
    return {each.id for each in (entities if isinstance(entities, list) else [entities])}


def test_the_crate_opens_and_names_what_is_there(described, campaign):
    write_provenance(described, campaign)
    crate = opened(described)
    root = crate.root_dataset
    assert root["name"] == "quickstart: a run of Cosmotron"
    assert root["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"
    done = len(campaign.tasks(described))
    assert root["description"] == f"Two seeds & <tags>. {done} of {done} tasks are done."
    for name in (
        *("campaign.toml", "environment.json", "ledger/", "data/labelled.zarr/"),
        *("data/labelled.zarr/manifest.json", "data/labelled.croissant.json"),
        *("pretrain/m0-d960-s1/weights.safetensors", "pretrain/m0-d960-s1/metrics.jsonl"),
    ):
        assert crate.get(name) is not None, name
    for entity in crate.data_entities:
        assert (described.path / entity.id).exists(), entity.id
        digest = entity.get("sha256")
        if digest is not None:
            assert digest == hashlib.sha256((described.path / entity.id).read_bytes()).hexdigest()


def test_every_id_is_of_something_in_the_crate(described, campaign):
    graph = json.loads(write_provenance(described, campaign).crate.read_text())["@graph"]
    known = [node["@id"] for node in graph]
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert len(known) == len(set(known))
    assert {each for node in graph for each in references(node)} <= {*known, *outside}
    assert not [key for node in graph for key, value in node.items() if value in (None, [], "")]


def test_a_store_says_its_size_and_content(described, campaign):
    write_provenance(described, campaign)
    store = opened(described).get("data/labelled.zarr/")
    told = {each["name"]: each["value"] for each in store["additionalProperty"]}
    assert told["events of split train"] == 249
    assert told["events of split test"] == 125
    assert len(told["SHA-256 of the content"]) == 64
    assert store["subjectOf"]["conformsTo"].id == "http://mlcommons.org/croissant/1.0"


def test_a_task_says_what_it_made_of_what(described, campaign):
    write_provenance(described, campaign)
    crate = opened(described)
    action = crate.get("#finetune/tracking-m0-d960-s1-frozen-l240-s1")
    task = "finetune/tracking-m0-d960-s1-frozen-l240-s1"
    assert action.type == "CreateAction"
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "data/labelled.zarr/" in ids(action["object"])
    assert "pretrain/m0-d960-s1/weights.safetensors" in ids(action["object"])
    assert {f"{task}/weights.safetensors", f"{task}/result.json"} <= ids(action["result"])
    assert action["startTime"] < action["endTime"]
    assert action["resourceUsage"]["name"] == "node-hours charged at local"
    staged = crate.get("#stage/labelled")
    assert ids(staged["object"]) == {"simulate/tracks/files/", "data/unlabelled.zarr/"}
    assert "data/labelled.zarr/" in ids(staged["result"])


def test_an_evaluation_made_its_predictions(described, campaign):
    key = "evaluate/tracking-m0-d960-s1-full-l240-s1"
    path = described.task(key).predictions
    path.write_bytes(b"of every event")
    digest = hashlib.sha256(b"of every event").hexdigest()
    known = PredictionsFile(file=path.name, bytes=14, sha256=digest)
    result = records.read(described.task(key).result, Evaluated)
    described.task(key).finish(result.model_copy(update={"predictions": known}))
    write_provenance(described, campaign)
    crate = opened(described)
    name = f"{key}/predictions.parquet"
    assert name in ids(crate.get(f"#{key}")["result"])
    assert crate.get(name)["sha256"] == digest
    assert crate.get(name)["encodingFormat"] == "application/vnd.apache.parquet"


def test_the_instrument_is_the_commit_that_ran(described, campaign):
    write_provenance(described, campaign)
    ours = opened(described).get("#pretrain/m0-d960-s1")["instrument"]
    assert ours.id == f"swh:1:rev:{COMMIT}"
    assert ours["softwareVersion"] == "0.1.0"
    needed = {each["name"]: each["softwareVersion"] for each in ours["softwareRequirements"]}
    assert needed == {"torch": "2.13.0+cpu", "Python": "3.11.7"}


def test_a_changed_checkout_is_no_commit(described, campaign):
    write_json(described.environment, {"commit": f"{COMMIT}+"})
    write_provenance(described, campaign)
    ours = opened(described).get("#pretrain/m0-d960-s1")["instrument"]
    assert ours.id == "#cosmotron"
    assert ours["identifier"] == f"git commit {COMMIT}+"


def test_twice_is_once(described, campaign):
    first = write_provenance(described, campaign)
    content = [path.read_bytes() for path in (first.crate, *first.croissants)]
    second = write_provenance(described, campaign)
    assert second == first
    assert content == [path.read_bytes() for path in (second.crate, *second.croissants)]


def test_a_half_finished_run(fresh, campaign):
    """One store is there, one is being staged, one training failed, the rest is to come."""
    make_store(fresh, "unlabelled", train=998)
    fresh.store("labelled").mkdir()
    fresh.task("stage/unlabelled").finish(staged(seconds=2.0))
    fresh.task("pretrain/m0-d960-s1").fail("diverged", "The loss is nan after 48 events.")
    written = write_provenance(fresh, campaign)
    assert [path.name for path in written.croissants] == ["unlabelled.croissant.json"]
    assert written.problems == ()
    crate = opened(fresh)
    failed = crate.get("#pretrain/m0-d960-s1")
    assert failed["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert failed["error"] == "The loss is nan after 48 events."
    assert ids(crate.root_dataset["mentions"]) == {"#stage/unlabelled", "#pretrain/m0-d960-s1"}
    assert "1 of " in crate.root_dataset["description"]
    assert crate.root_dataset["license"].startswith("No licence is declared")


def test_what_is_damaged_is_told_and_left_out(described, campaign):
    (described.store("labelled") / "tables.npz").write_bytes(b"other")
    (Ledger(described.ledger).folder / "00000000000000000-end-x.json").write_text("{")
    written = write_provenance(described, campaign)
    assert [path.name for path in written.croissants] == ["unlabelled.croissant.json"]
    table, record = written.problems
    assert "labelled.zarr/tables.npz: not what was written (SHA-256 differs)" in table
    assert "00000000000000000-end-x.json" in record


def test_a_folder_with_nothing_to_describe(fresh, campaign):
    fresh.path.mkdir()
    with pytest.raises(RunError, match=r"nothing in it to describe\. Start with: cosmotron"):
        write_provenance(fresh, campaign)


def test_without_its_library_the_crate_says_what_to_install(described, campaign, monkeypatch):
    monkeypatch.delitem(sys.modules, "pipeline.release.crate", raising=False)
    monkeypatch.setitem(sys.modules, "rocrate.model.contextentity", None)
    with pytest.raises(RunError, match=r"pip install 'cosmotron\[report\]'"):
        write_provenance(described, campaign)


def test_croissant_s_own_tool_has_nothing_to_say(described, campaign):
    given = {"licence": "CC-BY-4.0", "cite_as": {"labelled": CITED, "unlabelled": CITED}}
    licensed = Campaign.model_validate(campaign.model_dump() | {"provenance": given})
    written = write_provenance(described, licensed)
    assert len(written.croissants) == 2
    for path in written.croissants:
        dataset = mlcroissant.Dataset(jsonld=str(path))
        assert dataset.metadata.ctx.issues.report() == ""
        assert dataset.metadata.cite_as == CITED
        assert dataset.metadata.license == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert opened(described).root_dataset["license"].id == "https://spdx.org/licenses/CC-BY-4.0"


def test_croissant_says_what_the_arrays_are(described, campaign):
    write_provenance(described, campaign)
    dataset = mlcroissant.Dataset(jsonld=str(described.croissant("labelled")))
    sets = {each.id: each for each in dataset.metadata.record_sets}
    kinds = {
        field.id: [each.rpartition("/")[2] for each in field.data_types]
        for each in sets.values()
        for field in each.fields
    }
    assert kinds["points/energy"] == ["Float32", "Float"]
    assert kinds["points/track_id"] == ["Int32", "Integer"]
    assert kinds["points/noise"] == ["Boolean"]
    assert kinds["events/zenith"] == ["Float64", "Float"]
    assert {"events/offsets", "events/event_id", "points/neighbours"} <= set(kinds)
    energy = next(field for field in sets["points"].fields if field.id == "points/energy")
    assert energy.description.startswith("energy in ADC. (value - 253.1) / 268.7 normalises it")
    sizes = {row["splits/name"]: row["splits/events"] for row in dataset.records("splits")}
    assert sizes == {"train": 249, "test": 125}


def test_croissant_names_the_sources_by_hash(described, campaign):
    write_provenance(described, campaign)
    told = json.loads(described.croissant("labelled").read_text())
    sources = {each["contentUrl"]: each["sha256"] for each in told["isBasedOn"]}
    assert sources == {
        "../simulate/collisions/files/train/pp200_000.root": "ab" * 32,
        "https://x.org/a b.npz": "cd" * 32,
    }
    files = {each["@id"]: each for each in told["distribution"]}
    assert files["shards"]["includes"] == "labelled.zarr/*/*/**"
    manifest = described.store("labelled") / "manifest.json"
    assert files["manifest.json"]["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"])
def test_a_licence_has_an_address(licence):
    assert Provenance(licence=licence).licence_address.endswith(licence)
    assert Provenance().licence_address == ""


def test_a_licence_is_no_sentence():
    with pytest.raises(
        ValueError, match=r"'do as you like': expected an identifier of https://spdx"
    ):
        Provenance(licence="do as you like")


def test_a_citation_is_of_a_dataset(campaign):
    declared = campaign.model_dump() | {"provenance": {"cite_as": {"labeled": CITED}}}
    with pytest.raises(ValueError, match=r"provenance.cite_as: 'labeled' is none of: unlabelled"):
        Campaign.model_validate(declared)


def test_the_verb_prints_what_it_wrote(described, cosmotron):
    there = ("--site", "local", "--root", described.root)
    told = cosmotron("crate", "quickstart", *there)
    assert told.code == 0
    names = ["labelled.croissant.json", "unlabelled.croissant.json"]
    written = [described.crate, *(described.path / "data" / name for name in names)]
    assert told.out.split() == [str(path) for path in written]
    told = json.loads(cosmotron("crate", "quickstart", *there, "--json").out)
    assert told["crate"] == str(described.crate)
    assert told["problems"] == []


def test_the_verb_says_what_it_left_out(described, cosmotron):
    (described.store("labelled") / "manifest.json").write_text("{}")
    told = cosmotron("crate", "quickstart", "--site", "local", "--root", described.root)
    assert told.code == 0
    assert "left out" in told.words
    assert "labelled.zarr/manifest.json: not what was written" in told.words


def test_a_crate_of_no_run(cosmotron, tmp_path):
    told = cosmotron("crate", "quickstart", "--site", "local", "--root", tmp_path)
    assert told.code == Exit.BUSY
    assert "no such run. Start with: cosmotron run quickstart" in told.words
