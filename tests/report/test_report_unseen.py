"""What the page and the tables say of tests on events that were trained on."""

import csv
import io
import json

from made_results import probed

from pipeline import records
from pipeline.campaign import load_campaign
from pipeline.records import Evaluated, Overlap
from pipeline.report import write_report
from pipeline.report.tables import results_as
from pipeline.run import Run

OVERLAP = Overlap(
    task="pretrain/m",
    trained_store="/run/data/unlabelled.zarr",
    trained_split="train",
    store="/run/data/labelled.zarr",
    split="test",
    events=12,
    of=125,
    files=("/raw/<a>.npz", "/raw/b.npz"),
)
SENTENCE = (
    "12 of 125 events of labelled, split &#39;test&#39;, are among those that pretrain/m was "
    "trained on (unlabelled, split &#39;train&#39;), in 2 files, the first is /raw/&lt;a&gt;.npz."
)


def marked(run, campaign, stage, kind, **changes):
    """Change the first result of a stage; return the key of its task."""
    task = next(each for each in campaign.tasks(run) if each.stage == stage)
    path = run.task(task.key).result
    records.write(path, records.read(path, kind).model_copy(update=changes))
    return task.key


def test_a_page_of_unseen_events_says_that_they_are(page):
    assert "On events that no training saw." in page
    assert "Not every test is on unseen events." not in page


def test_an_overlap_stands_above_and_beside_the_numbers(whole, campaign, site):
    key = marked(whole, campaign, "evaluate", Evaluated, overlap=(OVERLAP,))
    page = " ".join(write_report(whole, campaign, site).read_text().split())
    assert "Not every test is on unseen events." in page
    assert f"<li>{SENTENCE} Tested by {key}.</li>" in page
    assert "On events that no training saw." not in page
    assert "<strong>12 test events were trained on</strong>" in page


def test_a_probe_of_events_that_were_trained_on_is_no_held_out_loss(tmp_path, site):
    campaign = load_campaign("fm4npp-quick")
    run = Run(tmp_path, "fm4npp-quick")
    (task,) = (each for each in campaign.tasks(run) if each.stage == "probe")
    run.task(task.key).finish(probed(1.0))
    assert "<td>loss, held out</td>" in write_report(run, campaign, site).read_text()
    run.task(task.key).finish(probed(1.0, overlap=(OVERLAP,)))
    page = write_report(run, campaign, site).read_text()
    assert "<strong>12 events of this split were trained on.</strong>" in page
    assert "<td>loss, held out</td>" not in page
    assert "<td>loss</td>" in page


def test_weights_of_which_nothing_is_known_are_named(whole, campaign, site):
    marked(whole, campaign, "evaluate", Evaluated, unknown_training=("/theirs",))
    page = write_report(whole, campaign, site).read_text()
    assert "What the weights in /theirs were trained on is not known" in page


def test_tables_have_the_number(whole, campaign):
    marked(whole, campaign, "evaluate", Evaluated, overlap=(OVERLAP,))
    lines = json.loads(results_as(whole, campaign, "json")[0])
    assert sorted(each["test_events_trained_on"] for each in lines)[-2:] == [0, 12]
    rows = csv.DictReader(io.StringIO(results_as(whole, campaign, "csv")[0]))
    assert {each["test_events_trained_on"] for each in rows} == {"0", "12"}
    latex = results_as(whole, campaign, "latex")[0]
    assert latex.count(r"$^\dagger$") == 1
    assert "% dagger: tested on events that the model was trained on" in latex
