"""What a user sees: examples, corrections, exit codes, JSON for scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_results import of_stage, simulated
from whole_campaign import TINY

from pipeline import __version__
from pipeline.campaign import load_campaign
from pipeline.catalog import names
from pipeline.outcome import Exit
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.run import Run
from pipeline.site import Site, load_site

VERBS = [
    ["run"],
    ["plan"],
    ["status"],
    ["stop"],
    ["cancel"],
    ["logs"],
    ["rehearse"],
    ["forecast"],
    ["budget"],
    ["export"],
    ["report"],
    ["crate"],
    ["campaigns"],
    ["simulate"],
    ["stage"],
    ["sites", "list"],
    ["sites", "show"],
    ["data", "inspect"],
    ["data", "verify"],
    ["data", "plot"],
]
HEAVY = ("torch", "deepspeed", "parsl", "zarr", "matplotlib", "scipy", "sklearn", "uproot", "numpy")


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_s_help_shows_an_example(cosmotron: Any, verb: list[str]) -> None:
    told = cosmotron(*verb, "--help")
    assert told.code == 0
    assert f"Example: cosmotron {' '.join(verb)}" in told.words


def test_help_names_every_verb(cosmotron: Any) -> None:
    told = cosmotron("--help")
    assert told.code == 0
    assert all(verb[0] in told.words for verb in VERBS)


def test_the_version_is_printed(cosmotron: Any) -> None:
    assert cosmotron("--version").out.strip() == __version__


def test_without_a_verb_the_help_is_shown(cosmotron: Any) -> None:
    told = cosmotron()
    assert told.code == Exit.USAGE
    assert "Usage:" in told.words


def test_an_unknown_option_is_a_usage_error(cosmotron: Any) -> None:
    told = cosmotron("plan", "quickstart", "--sight", "local")
    assert told.code == Exit.USAGE
    assert "--sight" in told.words


def test_a_misspelt_site_is_corrected(cosmotron: Any) -> None:
    told = cosmotron("plan", "quickstart", "--site", "perlmuter")
    assert told.code == Exit.USAGE
    assert "No site named 'perlmuter'. Did you mean 'perlmutter'?" in told.words


def test_a_misspelt_campaign_is_corrected(cosmotron: Any) -> None:
    told = cosmotron("run", "quikstart", "--site", "local")
    assert told.code == Exit.USAGE
    assert "No campaign named 'quikstart'. Did you mean 'quickstart'?" in told.words


def test_an_unknown_key_names_file_key_and_the_nearest(cosmotron: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TINY.read_text().replace("learning_rate = 2e-3", "learnin_rate = 2e-3"))
    told = cosmotron("plan", path, "--site", "local")
    assert told.code == Exit.USAGE
    expected = "pretrain.training.learnin_rate: unknown key. Did you mean 'learning_rate'?"
    assert str(path) in told.words
    assert expected in told.words


def test_a_file_that_is_no_toml(cosmotron: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    told = cosmotron("plan", path)
    assert told.code == Exit.USAGE
    assert "not valid TOML" in told.words


@pytest.mark.parametrize("verb", ["run", "report"])
def test_a_root_that_is_a_file_ends_with_one_message(
    cosmotron: Any, tmp_path: Path, verb: str
) -> None:
    root = tmp_path / "file"
    root.write_text("")
    told = cosmotron(verb, TINY, "--site", "local", "--root", root)
    assert told.code in (Exit.CANNOT_WRITE, Exit.BUSY)
    assert told.words.count("error ") == 1
    assert str(root) in told.words
    assert "Traceback" not in told.words


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_without_permission(cosmotron: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    told = cosmotron("run", TINY, "--site", "local", "--root", tmp_path)
    assert told.code == Exit.CANNOT_WRITE
    assert "Permission denied. Get write permission there, or write elsewhere" in told.words


def test_a_price_that_is_not_agreed_to_submits_nothing(
    cosmotron: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda question: question != "Submit?")
    told = cosmotron("run", TINY, "--site", "perlmutter", "--root", tmp_path, "--no-check")
    assert told.code == 0
    assert "11 tasks to do, at most" in told.words
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_a_table_for_people(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("plan", "quickstart", "--site", "perlmutter", "--root", tmp_path)
    assert told.code == 0
    assert "1 × 1 node(s) × 10 min" in told.out
    assert "in a pilot" in told.out
    assert list(tmp_path.iterdir()) == []


def test_a_plan_as_json(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("plan", TINY, "--site", "frontier", "--root", tmp_path, "--json")
    plan = json.loads(told.out)
    assert told.code == 0
    assert plan["site"] == "frontier"
    assert len(plan["steps"]) == 11
    charged = sum(step["node_hours"] for step in plan["steps"])
    assert plan["node_hours"] == pytest.approx(plan["pilot_node_hours"] + charged)


@pytest.mark.parametrize(
    ("site", "account"), [("perlmutter", "m4722_g"), ("frontier", "m4722"), ("local", None)]
)
def test_a_plan_writes_the_scripts_that_would_be_submitted(
    cosmotron: Any, tmp_path: Path, site: str, account: str | None
) -> None:
    folder = tmp_path / "scripts"
    words = ("--site", site, "--root", tmp_path / "runs", "--project", "m4722")
    told = cosmotron("plan", TINY, *words, "--scripts", folder)
    assert told.code == 0
    scripts = sorted(folder.glob("*.sbatch"))
    assert f"Wrote {len(scripts)} scripts to" in told.words
    assert len(scripts) == (5 if account is None else 3), "what shares a pack has one script"
    training = next(path for path in scripts if ".pretrain." in path.name).read_text()
    assert "pipeline.training.programs.pretrain" in training
    if account is not None:
        assert f"#SBATCH --account={account}\n" in training


def test_a_queue_that_is_none(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("plan", TINY, "--site", "perlmutter", "--root", tmp_path, "--qos", "fast")
    assert told.code == Exit.USAGE
    assert "no QOS 'fast'. Declared: regular, debug, preempt, premium, overrun." in told.words


def test_status_is_from_disk_alone(cosmotron: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, "tiny")
    run.task("simulate/collisions").finish(simulated())
    run.task("stage/unlabelled").fail("bad_input", "No such thing: [/x].")
    told = cosmotron("status", TINY, "--site", "local", "--root", tmp_path)
    assert told.code == 0
    assert "✓ simulate/collisions" in told.words
    assert "No such thing: [/x]." in told.words
    rows = json.loads(cosmotron("status", TINY, "--root", tmp_path, "--json").out)
    assert [row["state"] for row in rows[:3]] == ["done", "waiting", "failed"]
    assert len(rows) == 11


def test_status_of_what_never_ran_says_so(cosmotron: Any, tmp_path: Path) -> None:
    for words in ([], ["--json"]):
        told = cosmotron("status", TINY, "--root", tmp_path, *words)
        assert told.code != 0
        assert f"{tmp_path}/tiny: no such run. Start with: cosmotron run" in told.words


def finished(root: Path) -> Run:
    """A run of the tiny campaign whose every task is done."""
    run = Run(root, "tiny")
    for task in load_campaign(str(TINY)).tasks(run):
        run.task(task.key).finish(of_stage(task.stage))
    return run


def test_who_watches_is_told_the_end_by_the_exit_code(cosmotron: Any, tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert cosmotron("status", TINY, "--root", tmp_path, "--watch").code == 0
    failed = run.task("pretrain/m-d24-s1")
    failed.done.unlink()
    failed.fail("bad_input", "No store.")
    told = cosmotron("status", TINY, "--root", tmp_path, "--watch")
    assert told.code == Exit.FAILED
    assert "failed pretrain/m-d24-s1 No store." in told.words


def test_who_watches_may_leave(
    cosmotron: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    assert cosmotron("status", TINY, "--root", tmp_path, "--watch").code == 130


def test_watching_is_not_for_scripts(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("status", TINY, "--root", tmp_path, "--watch", "--json")
    assert told.code == Exit.USAGE
    assert "--watch and --json exclude each other." in told.words


def test_an_export_of_what_is_not_done(cosmotron: Any, tmp_path: Path) -> None:
    words = ("pretrain/m-d24-s1", "--to", tmp_path / "m", "--root", tmp_path)
    told = cosmotron("export", TINY, *words)
    assert told.code == Exit.FAILED
    assert "not done, so there is nothing to export" in told.words


def test_a_profile_is_asked_of_every_link_of_a_training(tmp_path: Path) -> None:
    run, site = Run(tmp_path, "tiny"), load_site("local")
    tasks = load_campaign(str(TINY)).tasks(run)
    plan = make_plan(tasks, run, site, RunOptions(profile_steps=7))
    asked = [plan.link(step, 2).command[-2:] for step in plan.steps if not step.in_pilot]
    assert set(asked) == {("--profile", "7")}


def test_an_unknown_experiment_is_found_before_anything_runs(
    cosmotron: Any, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    simulations, mark, datasets = Path(TINY).read_text().partition("[datasets")
    path.write_text(simulations + mark + datasets.replace('"sphenix"', '"sphenyx"'))
    told = cosmotron("plan", path, "--site", "local", "--root", tmp_path)
    assert told.code == Exit.USAGE
    assert "'sphenyx': unknown. Did you mean 'sphenix'?" in told.words


def test_a_report_of_no_run(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("report", TINY, "--site", "local", "--root", tmp_path)
    assert told.code == Exit.BUSY
    assert "no such run. Start with: cosmotron run" in told.words


def test_cancelling_where_nothing_runs(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("cancel", TINY, "--site", "local", "--root", tmp_path)
    assert told.code == 0
    assert "Cancelled 0 job(s) of tiny on local." in told.words


def test_a_campaign_is_stopped_and_goes_on(cosmotron: Any, tmp_path: Path) -> None:
    there = ("--site", "local", "--root", tmp_path)
    Run(tmp_path, "tiny").path.mkdir()
    told = cosmotron("stop", TINY, *there, "--reason", "the queue is needed")
    assert told.code == 0
    assert "running links save and end within a step, and no more jobs are submitted" in told.words
    order = json.loads((tmp_path / "tiny" / "STOP").read_text())
    assert order["reason"] == "the queue is needed"
    assert {"by", "host", "time"} <= set(order)
    told = cosmotron("run", TINY, *there)
    assert told.code == Exit.BUSY
    assert f"Stopped by {order['by']} on {order['host']}, {order['time']} (the queue" in told.words
    assert "To continue: cosmotron stop tiny --undo" in told.words
    assert not (tmp_path / "tiny" / "ledger").exists(), "nothing was submitted"
    told = cosmotron("stop", TINY, *there, "--undo")
    assert "Withdrawn. To continue: cosmotron run" in told.words
    assert not (tmp_path / "tiny" / "STOP").exists()
    assert "no stop request." in cosmotron("stop", TINY, *there, "--undo").words


def test_one_task_is_stopped(cosmotron: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, "tiny")
    run.path.mkdir()
    told = cosmotron("stop", TINY, "pretrain/m-d24-s1", "--site", "local", "--root", tmp_path)
    assert told.code == 0
    assert run.task("pretrain/m-d24-s1").stop.is_file()
    assert not run.stop.exists()


def test_stopping_what_is_not_there(cosmotron: Any, tmp_path: Path) -> None:
    there = ("--site", "local", "--root", tmp_path)
    told = cosmotron("stop", TINY, *there)
    assert told.code == Exit.BUSY
    assert "no such run. Start with: cosmotron run" in told.words
    Run(tmp_path, "tiny").path.mkdir()
    told = cosmotron("stop", TINY, "pretrain/none", *there)
    assert told.code == Exit.USAGE
    assert "no task 'pretrain/none'. There are: simulate/" in told.words


def test_campaigns_are_listed(cosmotron: Any) -> None:
    told = cosmotron("campaigns")
    assert told.code == 0
    assert all(name in told.out for name in names("jobs/campaigns"))


def test_sites_are_listed_with_the_date_of_their_facts(cosmotron: Any) -> None:
    told = cosmotron("sites", "list")
    assert told.code == 0
    for name in names("sites"):
        assert name in told.out
        assert str(load_site(name).as_of) in told.out


def test_sites_as_json_read_back_as_sites(cosmotron: Any) -> None:
    listed = json.loads(cosmotron("sites", "list", "--json").out)
    assert [Site.model_validate_json(json.dumps(each)) for each in listed] == [
        load_site(name) for name in names("sites")
    ]


def test_a_site_is_shown_with_its_limits_its_doubts_and_its_sources(cosmotron: Any) -> None:
    told = cosmotron("sites", "show", "perlmutter")
    assert told.code == 0
    shown = {" ".join(line.split()) for line in told.out.splitlines()}
    assert shown >= {
        "NERSC Perlmutter, as of 2026-11-01: slurm, cuda",
        "gpu80 256 4 of 80 GB 256 GB --constraint=gpu&hbm80g",
        "preempt 2 h to 48 h 1 to 128 5000 submitted yes 1",
        "0.25 after 2 h, on gpu, gpu80",
        "debug 30 min 1 to 8 5 submitted, 2 running forbidden 1",
        "cfs /global/cfs yes no showquota",
        "premium, 2 unconfirmed: 4 once 20 % of the allocation was spent in premium",
        "https://docs.nersc.gov/jobs/policy/",
    }


@pytest.mark.parametrize("name", names("sites"))
def test_every_site_can_be_shown(cosmotron: Any, name: str) -> None:
    told = cosmotron("sites", "show", name)
    assert told.code == 0
    assert all(source in told.out for source in load_site(name).sources)


def test_a_site_s_own_file_comes_as_it_is(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("sites", "show", "frontier", "--toml")
    mine = tmp_path / "mine.toml"
    mine.write_text(told.out)
    assert load_site(str(mine)) == load_site("frontier")
    shown = cosmotron("sites", "show", str(mine), "--json").out
    assert Site.model_validate_json(shown) == load_site("frontier")


def test_a_site_that_is_not_there_is_no_page(cosmotron: Any) -> None:
    assert cosmotron("sites", "show", "perlmuter").code == Exit.USAGE


@pytest.mark.parametrize("verb", ["plan", "status"])
def test_long_names_are_whole_where_nobody_watches(tmp_path: Path, verb: str) -> None:
    (tmp_path / "quickstart").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", verb, "quickstart", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert "evaluate/tracking-m0-scratch-l240-s1 " in done.stdout


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, pipeline.cli; print([n for n in sys.argv[1:] if n in sys.modules])"
    command = [sys.executable, "-c", code, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_and_the_command_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == __version__
