"""Several runs side by side: what was declared differently, and what came out."""

import json

import pytest
from made_results import evaluated
from report_fixtures import make_run

from pipeline.campaign import declare, to_toml
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.site import load_site
from pipeline.writing import write_text

SCRATCH, GAIN = "tracking-m0-scratch-l240-s", 0.03


def made(root, campaign, gain=0.0):
    """Make a run whose scores from scratch are better by `gain`, but for 0.001 times the seed."""
    run = Run(root, "quickstart")
    make_run(run, campaign, events=0)
    for task in campaign.tasks(run):
        declare(run.task(task.key), task)
        if gain and task.stage == "evaluate" and SCRATCH in task.key:
            folder = run.task(task.key)
            score = json.loads(folder.result.read_text())["scores"]["ari"]
            found = evaluated({"ari": score + gain + 0.001 * task.seed}, mode="scratch")
            folder.finish(found)
    write_text(run.declaration, to_toml(campaign))
    write_text(run.site, to_toml(load_site("local")))
    return run.path


@pytest.fixture
def runs(tmp_path, campaign):
    """A run, and one of a longer campaign of another name, with better scores from scratch."""
    pretrain = campaign.pretrain
    training = pretrain.training.model_copy(update={"learning_rate": 0.25})
    changed = campaign.model_copy(
        update={
            "name": "longer",
            "pretrain": pretrain.model_copy(update={"training": training}),
        }
    )
    return made(tmp_path / "a", campaign), made(tmp_path / "b", changed, GAIN)


def test_the_terminal_shows_scores_changes_and_declarations(cosmotron, runs):
    told = cosmotron("compare", *runs)
    assert told.code == 0, told.words
    words = " ".join(told.out.split())
    assert "setting a/quickstart b/quickstart − a/quickstart" in words
    assert "m0, scratch, 240 labels" in words
    assert "+0.0315 ± 0.0005 *" in words, "0.031 and 0.032, paired by seed"
    assert "m0, pretrained on 960 events, frozen, 240 labels" in words
    assert "pretrain.training.learning_rate" in words
    assert "0.25" in words
    assert "name" not in [line.split()[0] for line in told.out.splitlines() if line.strip()]


def test_scripts_get_the_same(cosmotron, runs):
    found = json.loads(cosmotron("compare", *runs, "--json").out)
    assert [each["campaign"] for each in found["runs"]] == ["quickstart", "longer"]
    (key,) = (key for key in found["differences"] if key.endswith("learning_rate"))
    assert found["differences"][key][1] == "0.25"
    (row,) = (each for each in found["results"] if each["mode"] == "scratch")
    (change,) = row["differences"]
    assert change["value"] == pytest.approx(GAIN + 0.0015)
    assert (change["seeds"], change["is_seen"]) == (2, True)
    (same,) = (each for each in found["results"] if each["mode"] == "frozen")
    assert same["differences"][0]["value"] == 0


def test_the_page_draws_the_losses_of_both_together(cosmotron, runs, tmp_path):
    told = cosmotron("compare", *runs, "--to", tmp_path / "compared.html")
    assert told.code == 0, told.words
    assert told.out.strip() == str(tmp_path / "compared.html")
    words = " ".join((tmp_path / "compared.html").read_text().split())
    assert "<h1>a/quickstart · b/quickstart</h1>" in words
    assert "Pretraining m0-d960-s1" in words
    assert words.count("<svg") == 1
    for text in ("+0.0315", "<code>pretrain.training.learning_rate</code>", "2 seeds"):
        assert text in words
    assert "Not everything could be read" not in words


def test_tests_on_different_events_are_marked(cosmotron, runs, campaign):
    run = Run(runs[1].parent, "quickstart")
    for task in campaign.tasks(run):
        if task.stage == "evaluate" and SCRATCH in task.key:
            run.task(task.key).finish(
                evaluated({"ari": 0.5}, mode="scratch", store_sha256="cd34" * 16)
            )
    found = json.loads(cosmotron("compare", *runs, "--json").out)
    same = {each["mode"]: each["same_events"] for each in found["results"]}
    assert same == {"scratch": False, "frozen": True, "full": True}


def test_runs_of_the_same_campaign_are_said_to_be_alike(cosmotron, tmp_path, campaign):
    paths = [made(tmp_path / name, campaign) for name in ("a", "b")]
    assert json.loads(cosmotron("compare", *paths, "--json").out)["differences"] == {}
    cosmotron("compare", *paths, "--to", tmp_path / "x.html")
    assert "The campaigns are the same, every key resolved." in (tmp_path / "x.html").read_text()


def test_what_cannot_be_compared(cosmotron, runs, tmp_path):
    for words, said in (
        ([runs[0]], "Name two runs or more: cosmotron compare RUN RUN"),
        ([runs[0], runs[0]], "the same run folder as"),
        ([*runs, "--to", tmp_path], f"a folder. Name the page to write: --to {tmp_path}/compared"),
        ([runs[0], tmp_path], "no run: campaign.toml is not there. Give a run folder."),
    ):
        told = cosmotron("compare", *words)
        assert told.code == Exit.USAGE
        assert said in told.words
