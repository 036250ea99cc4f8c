"""A store that another campaign or `cosmotron stage` made: taken as it is, never written to."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, STAGED, campaign, finish, meanings
from staged_alone import write_sources

from pipeline.campaign import (
    Campaign,
    FetchTask,
    FinetuneTask,
    PretrainTask,
    declare,
    load_campaign,
    to_toml,
)
from pipeline.catalog import DeclarationError
from pipeline.data import source
from pipeline.data.store import Store
from pipeline.data.store.manifest import write_manifest
from pipeline.planning import changes, selection, shared_stores
from pipeline.run import Run

Changed = dict[str, Any]
Taking = Callable[..., Campaign]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a campaign."""
    folder = tmp_path_factory.mktemp("made")
    raw = folder / "raw"
    write_sources(raw, 3)
    first = Run(folder, "first")
    finish(campaign(folder, raw).tasks(first)[:1], first)
    return first.store("ours")


@pytest.fixture
def shared(tmp_path: Path, made: Path) -> Iterator[Path]:
    """A copy of the store in a folder that may not be written."""
    store = tmp_path / "shared" / "pp.zarr"
    shutil.copytree(made, store)
    folders = [store.parent, store, *(path for path in store.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield store
    for folder in folders:
        folder.chmod(0o755)


@pytest.fixture
def taking(tmp_path: Path) -> Taking:
    """The campaign with a store in place of its files, and other keys of the dataset."""

    def take(store: Path | str, **keys: Any) -> Campaign:
        def change(content: Changed) -> None:
            content["datasets"]["ours"] = {"experiment": "sphenix", "store": str(store)} | keys

        return campaign(tmp_path, tmp_path, change)

    return take


def told(asked: Campaign, run: Run) -> str:
    """What is said of the stores of a campaign of which nothing is done."""
    with pytest.raises(DeclarationError) as refused:
        shared_stores.check(asked, asked.tasks(run), run)
    assert str(refused.value).count("datasets.ours.store: ") == 1, "one message"
    return str(refused.value)


@pytest.mark.parametrize("keys", [{}, {"neighbours": 3}])
def test_the_campaign_as_its_run_records_it_is_read_again(
    shared: Path, taking: Taking, tmp_path: Path, keys: Changed
) -> None:
    """Verbs that take a run folder read it; the store is held to what was said, not to defaults."""
    taken = taking(shared, **keys)
    recorded = tmp_path / "recorded.toml"
    recorded.write_text(to_toml(taken))
    again = load_campaign(str(recorded))
    assert again.datasets["ours"].model_fields_set == {"experiment", "store", *keys}
    assert again == taken


def test_nothing_is_staged_and_all_is_trained_on_the_store(
    shared: Path, taking: Taking, run: Run
) -> None:
    asked = taking(shared)
    tasks = {task.key: task for task in asked.tasks(run)}
    shared_stores.check(asked, tasks.values(), run)
    assert STAGED not in tasks
    pretrain, full = tasks[PRETRAINED], tasks[FULL]
    assert isinstance(pretrain, PretrainTask)
    assert isinstance(full, FinetuneTask)
    assert (pretrain.store, full.store) == (shared, shared)
    assert pretrain.needs == ()
    assert full.needs == (PRETRAINED,)


def test_a_store_that_was_copied_elsewhere_is_the_same(
    tmp_path: Path, shared: Path, taking: Taking, run: Run
) -> None:
    finish(taking(shared).tasks(run), run)
    moved = tmp_path / "elsewhere.zarr"
    shutil.copytree(shared, moved)
    tasks = taking(moved).tasks(run)
    assert set(meanings(tasks, run).values()) == {"the same"}
    changes.apply(changes.compare(tasks, run), tasks, run)
    assert str(moved) in run.task(PRETRAINED).declaration.read_text()


def test_another_content_at_the_same_place_is_another_store(
    tmp_path: Path, made: Path, taking: Taking, run: Run
) -> None:
    store = tmp_path / "pp.zarr"
    shutil.copytree(made, store)
    finish(taking(store).tasks(run), run)
    manifest = Store.open(store).manifest
    write_manifest(store, manifest.model_copy(update={"rejected": {"few points": 1}}))
    found = changes.compare(taking(store).tasks(run), run)
    assert found[PRETRAINED].meaning == "made again"
    assert str(found[PRETRAINED]).count(f"{store} (SHA-256 ") == 2


def test_a_store_of_the_run_itself_may_be_taken_from_a_copy(
    tmp_path: Path, taking: Taking, run: Run
) -> None:
    raw = tmp_path / "raw"
    write_sources(raw, 3)
    finish(campaign(tmp_path, raw).tasks(run), run)
    copy = tmp_path / "copy.zarr"
    shutil.copytree(run.store("ours"), copy)
    found = meanings(taking(copy).tasks(run), run)
    assert found.pop(STAGED) == "no longer asked"
    assert set(found.values()) == {"the same"}


def test_a_store_that_was_moved_out_of_its_run_is_the_same(
    tmp_path: Path, taking: Taking, run: Run
) -> None:
    raw = tmp_path / "raw"
    write_sources(raw, 3)
    finish(campaign(tmp_path, raw).tasks(run), run)
    moved = run.store("ours").rename(tmp_path / "moved.zarr")
    found = meanings(taking(moved).tasks(run), run)
    assert found.pop(STAGED) == "no longer asked"
    assert set(found.values()) == {"the same"}
    manifest = Store.open(moved).manifest
    write_manifest(moved, manifest.model_copy(update={"rejected": {"few points": 1}}))
    assert meanings(taking(moved).tasks(run), run)[PRETRAINED] == "made again", "another content"


def test_a_finished_run_needs_no_store_any_more(
    tmp_path: Path, made: Path, taking: Taking, run: Run
) -> None:
    store = tmp_path / "pp.zarr"
    shutil.copytree(made, store)
    asked = taking(store)
    finish(asked.tasks(run), run)
    shutil.rmtree(store)
    part = selection.part(asked, run)
    assert {each.meaning for each in part.changes.values()} == {"the same"}
    shared_stores.check(asked, part.to_do, run)
    changes.apply(part.changes, part.tasks, run)
    shutil.copytree(made, store)
    assert "contents" in run.task(PRETRAINED).declaration.read_text(), "what it was is still known"


def test_no_store_there_is_said(tmp_path: Path, taking: Taking, run: Run) -> None:
    words = told(taking(tmp_path / "no.zarr"), run)
    assert words.startswith(f"datasets.ours.store: {tmp_path}/no.zarr: no store here (No such file")


def test_a_torn_manifest_is_said(tmp_path: Path, made: Path, taking: Taking, run: Run) -> None:
    store = tmp_path / "pp.zarr"
    shutil.copytree(made, store)
    text = (store / "manifest.json").read_text()
    (store / "manifest.json").write_text(text[: len(text) // 2])
    assert "manifest.json: not what was written (SHA-256 differs)" in told(taking(store), run)


def test_a_missing_shard_is_said(tmp_path: Path, made: Path, taking: Taking, run: Run) -> None:
    store = tmp_path / "pp.zarr"
    shutil.copytree(made, store)
    shard = Store.open(store).shards("train")[0]
    shutil.rmtree(shard.path)
    words = told(taking(store), run)
    assert f"{shard.path}/" in words
    assert f"and {len(shard.record.files) - 1} more files: missing." in words
    assert f"cosmotron data verify {store}" in words


def test_a_store_of_an_older_version_is_said(
    tmp_path: Path, made: Path, taking: Taking, run: Run
) -> None:
    store = tmp_path / "pp.zarr"
    shutil.copytree(made, store)
    manifest = Store.open(store).manifest
    write_manifest(store, manifest.model_copy(update={"schema_version": 2}))
    assert "staged by an older version (cosmotron-events/2" in told(taking(store), run)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"experiment": "jetclass"}, "of experiment 'sphenix', and 'jetclass' is declared."),
        ({"neighbours": 4}, "staged with neighbours 3, and 4 is declared."),
        ({"order": "hilbert"}, "is declared. Correct it, or leave it out"),
        ({"min_points": 7}, "staged with min_points 1, and 7 is declared."),
    ],
)
def test_what_a_dataset_says_otherwise_is_said(
    shared: Path, taking: Taking, run: Run, keys: Changed, words: str
) -> None:
    assert words in told(taking(shared, **keys), run)


def test_models_that_predict_more_neighbours_are_named(
    tmp_path: Path, shared: Path, run: Run
) -> None:
    def change(content: Changed) -> None:
        content["datasets"]["ours"] = {"experiment": "sphenix", "store": str(shared)}
        content["models"]["m"]["neighbours"] = 5

    words = told(campaign(tmp_path, tmp_path, change), run)
    assert (
        "staged with neighbours 3, and models.m predicts 5. Stage one with --neighbours 5" in words
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_split": "tset"}, "no split 'tset'; it has train, test."),
        ({"labels": [10**6]}, "events of 1,000,000."),
    ],
)
def test_splits_that_are_not_there_or_too_small_are_named(
    tmp_path: Path, shared: Path, run: Run, change: Changed, words: str
) -> None:
    def changed(content: Changed) -> None:
        content["datasets"]["ours"] = {"experiment": "sphenix", "store": str(shared)}
        content["finetune"]["tracking"] |= change

    assert words in told(campaign(tmp_path, tmp_path, changed), run)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"folder": "/raw", "splits": {"train": ["*"]}}, "give either simulation, or folder and"),
        ({"bins": [2, 2, 2], "sha256": "SUMS"}, "store is staged already: leave sha256, bins out"),
    ],
)
def test_sources_and_staging_of_a_staged_store_are_refused(
    shared: Path, taking: Taking, keys: Changed, words: str
) -> None:
    with pytest.raises(DeclarationError, match=words):
        taking(shared, **keys)


def test_a_store_at_an_address_is_fetched(made: Path, taking: Taking, run: Run) -> None:
    asked = taking(f"file://{made}")
    tasks = {task.key: task for task in asked.tasks(run)}
    shared_stores.check(asked, tasks.values(), run)
    fetch, pretrain = tasks["fetch/ours"], tasks[PRETRAINED]
    assert isinstance(fetch, FetchTask)
    assert isinstance(pretrain, PretrainTask)
    assert pretrain.store == fetch.store == run.store("ours")
    assert pretrain.needs == ("fetch/ours",)
    assert STAGED not in tasks


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("file:///no/pp.zarr", "/no/pp.zarr/manifest.json: not there. Check the address."),
        ("http://127.0.0.1:9/pp.zarr", "cannot be fetched ("),
        ("gopher://host/pp.zarr", "not an address that can be read"),
    ],
)
def test_an_address_that_does_not_answer_is_said(
    taking: Taking, run: Run, monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    monkeypatch.setattr(source, "FIRST_WAIT_SECONDS", 0.001)
    assert words in told(taking(address), run)


def test_a_manifest_at_an_address_is_held_to_what_the_dataset_says(
    made: Path, taking: Taking, run: Run
) -> None:
    asked = taking(f"file://{made}", neighbours=4)
    assert "staged with neighbours 3, and 4 is declared." in told(asked, run)


def test_a_store_that_was_fetched_may_have_another_address(
    tmp_path: Path, made: Path, taking: Taking, run: Run
) -> None:
    asked = taking(f"file://{made}")
    for task in asked.tasks(run):
        declare(run.task(task.key), task)
        run.task(task.key).done.touch()
    shutil.copytree(made, run.store("ours"))
    moved = tmp_path / "moved.zarr"
    shutil.copytree(made, moved)
    tasks = taking(f"file://{moved}").tasks(run)
    assert set(meanings(tasks, run).values()) == {"the same"}
    manifest = Store.open(moved).manifest
    write_manifest(moved, manifest.model_copy(update={"rejected": {"few points": 1}}))
    found = changes.compare(tasks, run)
    assert found["fetch/ours"].meaning == "made again"
    assert found[PRETRAINED].since == "fetch/ours"
