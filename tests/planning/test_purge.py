"""Files that a campaign still reads, on a file system that is purged."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, STAGED, campaign, finish
from staged_alone import write_sources

from pipeline.budget.forecast import Forecast, Interval, keep
from pipeline.campaign import Campaign
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.planning import needed, purge, selection
from pipeline.planning.needed import DAY_SECONDS
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.planning.touching import others, touched
from pipeline.records import Trained
from pipeline.run import Run
from pipeline.site import FileSystem, Site, load_site

EVALUATED = FULL.replace("finetune", "evaluate")
Asked = tuple[Campaign, Run, Site]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """A campaign with a fine-tuning, and what is made of it, to do; on scratch of 56 days."""
    write_sources(tmp_path / "raw", 3)
    run = Run(tmp_path / "runs", "c")
    found = campaign(tmp_path, tmp_path / "raw")
    finish(found.tasks(run), run)
    (run.task(PRETRAINED).path / WEIGHTS).write_text("weights")
    run.task(PRETRAINED).finish(Trained(steps=2))
    for key in (FULL, EVALUATED):
        run.task(key).done.unlink()
    scratch = FileSystem(root=str(tmp_path), locks=True, purge_days=56, keep_at="the archive")
    site = load_site("perlmutter").model_copy(update={"file_systems": {"scratch": scratch}})
    return found, run, site


def age(run: Run, days: float, *patterns: str) -> None:
    then = time.time() - days * DAY_SECONDS
    for pattern in patterns:
        for path in run.path.glob(pattern):
            if path.is_file():
                os.utime(path, (then, then))


def plan_of(asked: Asked) -> tuple[Plan, selection.Part]:
    found, run, site = asked
    part = selection.part(found, run)
    return make_plan(part.tasks, run, site, RunOptions("m1")), part


def test_what_open_tasks_read_and_nothing_else(asked: Asked) -> None:
    found, run, _ = asked
    read = needed.needed(selection.part(found, run), run)
    assert {each.made_by for each in read} == {STAGED, PRETRAINED}
    assert {each.reader for each in read} == {FULL}
    files = {path.relative_to(run.path).as_posix() for each in read for path in each.files}
    assert f"{PRETRAINED}/{WEIGHTS}" in files
    assert {name.split("/")[0] for name in files} == {"data", "pretrain"}
    (run.task(FULL).checkpoints / "step-000000000002").mkdir(parents=True)
    (run.task(FULL).checkpoints / "step-000000000002" / "state.pt").write_text("state")
    assert FULL in {each.made_by for each in needed.needed(selection.part(found, run), run)}


def test_files_to_be_staged_are_read_too(asked: Asked, tmp_path: Path) -> None:
    found, run, _ = asked
    run.task(STAGED).done.unlink()
    read = needed.needed(selection.part(found, run, [STAGED]), run)
    assert [each.made_by for each in read] == [STAGED]
    assert {path.parent for path in read[0].files} == {tmp_path / "raw"}


def test_a_plan_says_what_is_purged_before_it_is_read(asked: Asked, tmp_path: Path) -> None:
    _, _, site = asked

    def two_datasets(content: dict[str, Any]) -> None:
        content["datasets"]["later"] = content["datasets"]["ours"]
        content["finetune"]["tracking"]["dataset"] = "later"

    run, found = Run(tmp_path / "two", "c"), campaign(tmp_path, tmp_path / "raw", two_datasets)
    finish(found.tasks(run), run)
    for key in (PRETRAINED, FULL, EVALUATED):
        run.task(key).done.unlink()
    age(run, 50, "data/**/*")
    planned, part = plan_of((found, run, site))
    assert list(purge.warnings(planned, part, time.time())) == [], "it can be read within minutes"
    days = Interval(20.0, 30.0, 40.0)
    keep(Forecast("perlmutter", time.time(), 0.0, days, days), run)
    (line,) = purge.warnings(planned, part, time.time())
    when = time.strftime("%Y-%m-%d", time.localtime(time.time() + 6 * DAY_SECONDS))
    assert " files of stage/later may be" in line, "pretraining reads stage/ours at once"
    assert f"be purged from {when} on, 56 days after one of them was last read" in line
    read = time.strftime("%Y-%m-%d", time.localtime(time.time() + 15 * DAY_SECONDS))
    assert f"{FULL} reads them on {read} by the last forecast. Copy them to the archive" in line


def test_what_is_purged_already_is_told(asked: Asked) -> None:
    found, run, _ = asked
    (run.task(PRETRAINED).path / WEIGHTS).unlink()
    part = selection.part(found, run)
    assert part.changes[PRETRAINED].meaning == "recreated"


def test_access_times_alone_are_set(asked: Asked) -> None:
    found, run, site = asked
    age(run, 50, "data/**/*", "pretrain/**/*", "evaluate/**/*")
    other = run.path / "notes.txt"
    other.write_text("mine")
    age(run, 50, "notes.txt")
    purged = needed.purges(needed.needed(selection.part(found, run), run), site)
    weights = run.task(PRETRAINED).path / WEIGHTS
    before = weights.stat().st_mtime_ns
    assert touched(purged) == sum(len(each.needed.files) for each in purged) > 1
    assert time.time() - weights.stat().st_atime < 60
    assert weights.stat().st_mtime_ns == before
    assert time.time() - other.stat().st_atime > 40 * DAY_SECONDS
    files, size = others(run, purged)
    assert files > 0
    assert size > 0


@pytest.fixture
def site_file(asked: Asked, tmp_path: Path) -> Path:
    """A site file of the user's, the local machine with a purged scratch; to be completed."""
    from pipeline import catalog

    text = catalog.find("sites", "local").read_text()
    file = tmp_path / "mine.toml"
    scratch = f'[file_systems.scratch]\nroot = "{tmp_path}"\nlocks = true\npurge_days = 56\n'
    file.write_text(f"{text}\n{scratch}")
    return file


def test_a_policy_that_forbids_it_or_does_not_say(
    cosmotron: Any, asked: Asked, site_file: Path, tmp_path: Path
) -> None:
    _, run, _ = asked
    age(run, 50, "data/**/*")
    words = ("touch", tmp_path / "c.toml", "--root", run.root, "--site", site_file)
    told = cosmotron(*words)
    assert told.code == 1
    assert "Nothing was touched: this machine does not say that it is allowed" in told.words
    assert "may be purged from" in told.words
    site_file.write_text(
        f'{site_file.read_text()}touch = "forbidden"\npurge_policy = "rule 7"\nkeep_at = "tape"\n'
    )
    told = cosmotron(*words)
    assert told.code == 1
    assert "this machine forbids it: rule 7. Copy what you need to tape" in told.words
    assert "cosmotron archive" in told.words
    oldest = min(path.stat().st_atime for path in run.path.glob("data/**/*"))
    assert time.time() - oldest > 40 * DAY_SECONDS


def test_where_it_is_allowed(cosmotron: Any, asked: Asked, site_file: Path, tmp_path: Path) -> None:
    _, run, _ = asked
    age(run, 50, "data/**/*")
    site_file.write_text(f'{site_file.read_text()}touch = "allowed"\n')
    told = cosmotron("touch", tmp_path / "c.toml", "--root", run.root, "--site", site_file)
    assert told.code == 0, told.words
    assert "that c still reads. Left alone:" in told.words
    told = cosmotron(
        *("touch", tmp_path / "c.toml", "--root", run.root, "--site", site_file, "--json")
    )
    assert '"touched": true' in told.out


def test_where_nothing_is_purged(cosmotron: Any, asked: Asked, tmp_path: Path) -> None:
    _, run, _ = asked
    told = cosmotron("touch", tmp_path / "c.toml", "--root", run.root, "--site", "local")
    assert told.code == 0
    assert "what is still read lies on no file system that local purges" in told.words


def test_the_policies_of_shipped_sites_have_words_and_a_place_to_keep_files() -> None:
    for name in ("perlmutter", "frontier"):
        for each in load_site(name).file_systems.values():
            assert each.purge_days is None or (each.purge_policy and each.keep_at), name
            assert each.touch != "allowed"
