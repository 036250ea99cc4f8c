"""One campaign in several run folders: each task once, with where it ran."""

import csv
import io
import json
import shutil

import pytest
from made_results import evaluated
from report_fixtures import make_run

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import declare, to_toml
from pipeline.outcome import Exit
from pipeline.report import write_report
from pipeline.report.machines import gather, labelled
from pipeline.report.reader import Reader
from pipeline.report.tables import results_as
from pipeline.run import Run
from pipeline.site import load_site
from pipeline.writing import write_text

FULL, FROZEN = (f"tracking-m0-d960-s1-{mode}-l240-s1" for mode in ("full", "frozen"))


@pytest.fixture
def here(tmp_path, campaign):
    """A run of all but the full fine-tunings, on the local site."""
    return made(Run(tmp_path / "here", "quickstart"), campaign, "local", "-full-")


@pytest.fixture
def far(tmp_path, campaign):
    """A run of the full fine-tunings alone, on Frontier, where a copy of the pretraining is."""
    run = Run(tmp_path / "far", "quickstart")
    return made(run, campaign, "frontier", "-frozen-", "-scratch-")


def made(run, campaign, site, *left_out):
    """Make a run at a site without the tasks whose names have one of `left_out`."""
    make_run(run, campaign, events=0)
    for name in left_out:
        for path in run.path.glob(f"*/*{name}*"):
            shutil.rmtree(path)
    for path in (run.ledger, run.ledger.with_name("ledger-count")):
        shutil.rmtree(path)
    stages = ("finetune",) if site == "frontier" else ("pretrain", "finetune")
    tasks = [path for stage in stages for path in sorted(run.path.glob(f"{stage}/*"))]
    for number, path in enumerate(tasks):
        key = "/".join(path.parts[-2:])
        about = {"site": site, "stage": path.parent.name, "task": key, "job_id": str(number)}
        end = {"kind": Kind.END, "time": 9, "node_hours": 2.0, "seconds": 90, "state": "completed"}
        Ledger(run.ledger).append(Record(job_key=f"{site}{number}", **about, **end))
    declared(run, campaign, site)
    return run


def declared(run, campaign, site):
    """Declare what the folder holds, as `run` does."""
    for task in campaign.tasks(run):
        if run.task(task.key).path.is_dir():
            declare(run.task(task.key), task)
    write_text(run.declaration, to_toml(campaign))
    write_text(run.site, to_toml(load_site(site)))


def together(campaign, *runs):
    sites = ("frontier" if run.root.name == "far" else "local" for run in runs)
    places = [(run, load_site(site)) for run, site in zip(runs, sites, strict=True)]
    return gather(labelled(places), campaign, Reader())


def test_each_task_is_taken_from_where_it_is_done(campaign, here, far):
    found = together(campaign, here, far)
    tasks = {each.key: each for each in found.tasks}
    assert len(tasks) == len(campaign.tasks(here))
    assert {each.state for each in tasks.values()} == {"done"}
    assert (tasks[f"finetune/{FULL}"].ran_at, tasks[f"finetune/{FROZEN}"].ran_at) == (
        "frontier",
        "local",
    )
    assert tasks["pretrain/m0-d960-s1"].ran_at == "local", "its copy has no jobs"
    assert tasks[f"finetune/{FULL}"].folder.path.is_relative_to(far.path)
    assert found.notes == []
    assert together(campaign, far, here).notes == []
    first = {each.key: each for each in together(campaign, far, here).tasks}
    assert first["pretrain/m0-d960-s1"].ran_at == "local", "whichever is named first"


def test_two_results_of_one_cell_are_told_with_their_difference(campaign, here, far):
    key = f"evaluate/{FROZEN}"
    task = next(each for each in campaign.tasks(far) if each.key == key)
    far.task(key).finish(evaluated({"ari": 0.5}, mode="frozen", weights_sha256="ab12" * 16))
    declare(far.task(key), task.model_copy(update={"seed": 7}))
    (note,) = together(campaign, here, far).notes
    assert note.startswith(f"{key} is finished at local and at frontier. That of local is taken, ")
    assert "which is named first" in note
    assert "ari 0.92 and 0.5" in note
    assert "seed 1 → 7" in note
    (other,) = together(campaign, far, here).notes
    assert other.startswith(f"{key} is finished at frontier and at local. That of frontier is")


def test_one_whose_jobs_are_in_the_ledger_goes_before_a_copy_that_was_changed(campaign, here, far):
    key = f"finetune/{FULL}"
    shutil.copytree(far.task(key).path, here.task(key).path)
    result = here.task(key).result
    result.write_text(result.read_text().replace('"steps": 250', '"steps": 250, "loss": 7.5'))
    found = together(campaign, here, far)
    assert next(each for each in found.tasks if each.key == key).ran_at == "frontier"


def test_a_copy_of_a_run_is_counted_once(campaign, here, tmp_path):
    shutil.copytree(here.root, tmp_path / "copy")
    copy = Run(tmp_path / "copy", "quickstart")
    found = gather(
        labelled([(run, load_site("local")) for run in (here, copy)]), campaign, Reader()
    )
    assert len(found.accounts) == len(Ledger(here.ledger).accounts())
    (note,) = found.notes
    assert f"of {copy.path} are in one named before it: it is a copy. They are counted once" in note
    assert {machine.label for machine in found.machines} == {
        f"local, {here.path}",
        f"local, {copy.path}",
    }


def test_what_is_being_done_again_and_what_the_campaign_has_not_is_told(campaign, here, far):
    key = f"evaluate/{FROZEN}"
    about = {"site": "frontier", "stage": "evaluate", "task": key, "job_key": "again"}
    Ledger(far.ledger).append(Record(kind=Kind.START, time=9, **about))
    far.task("evaluate/other").finish(evaluated({"ari": 0.5}))
    again, unknown = together(campaign, here, far).notes
    assert again == f"{key} is running at frontier, and finished at local, whose result is taken."
    assert "1 finished task(s)" in unknown
    assert "the first evaluate/other: not shown" in unknown


def test_one_page_of_both(campaign, here, far):
    sites = [load_site(name) for name in ("local", "frontier")]
    page = write_report(here, campaign, sites[0], others=[(far, sites[1])])
    assert page == here.report / "together.html"
    assert not here.page.exists()
    words = " ".join(page.read_text().split())
    assert "<title>quickstart on local, frontier</title>" in words
    assert "<th>Ran at</th>" in words
    assert f"<td>finetune/{FULL}</td>" in words
    row = words[words.rindex(f"<td>finetune/{FULL}</td>") :][:200]
    assert "<td>frontier</td>" in row
    assert "local: " in words
    assert "frontier: 4" in words, "two jobs of two node-hours, in a paragraph of their own"
    assert "0.9500" in words, "scores of the full fine-tunings"
    assert "Not everything could be read" not in words


def test_results_say_where_they_ran(campaign, here, far):
    machines = labelled([(here, load_site("local")), (far, load_site("frontier"))])
    text, problems = results_as(here, campaign, "csv", machines)
    assert problems == []
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["mode"]: row["ran_at"] for row in rows} == {
        "full": "frontier frontier",
        "frozen": "local local",
        "scratch": "local local",
    }
    full = next(row for row in rows if row["mode"] == "full")
    assert (full["node_hours_frontier"], full["node_hours_local"]) == ("4.0", "")


def test_the_verbs_take_several_runs(cosmotron, here, far):
    told = cosmotron("report", here.path, far.path)
    assert told.code == 0, told.words
    assert told.out.strip() == str(here.report / "together.html")
    told = cosmotron("report", here.path, far.path, "--format", "json")
    assert {site for line in json.loads(told.out) for site in line["ran_at"]} == {
        "local",
        "frontier",
    }
    told = cosmotron("budget", here.path, far.path)
    assert told.code == 0, told.words
    assert "frontier: 4 node-hours charged, 2 task(s) ran there." in told.words
    assert "they are not added" in told.words
    found = json.loads(cosmotron("budget", here.path, far.path, "--json", "--by", "task").out)
    assert [each["label"] for each in found["runs"]] == ["local", "frontier"]
    assert [len(each["rows"]) for each in found["runs"]][1] == 2
    assert found["ran_at"][f"finetune/{FULL}"] == "frontier"


def test_runs_that_do_not_belong_together(cosmotron, here, far, campaign, tmp_path):
    told = cosmotron("report", here.path, here.path)
    assert told.code == Exit.USAGE
    assert "the same run folder as" in told.words
    other = campaign.model_copy(update={"name": "other"})
    write_text(far.declaration, to_toml(other))
    told = cosmotron("budget", here.path, far.path)
    assert told.code == Exit.USAGE
    assert "a run of other, and" in told.words
    told = cosmotron("budget", here.path, far.path, "--balance", "ask")
    assert told.code == Exit.USAGE
    assert "Name it alone" in told.words
