import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import declare
from pipeline.outcome import RunError
from pipeline.report import write_report
from pipeline.report.tables import results_as
from pipeline.writing import write_json, write_text

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that elements close."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.open, self.unclosed = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.unclosed.append(tag)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>", 1)[1]))


def test_a_finished_campaign_fills_every_section(page):
    words = text_of(page)
    assert "Tasks done 17 of 17" in words
    assert "Best ARI 0.9550 full" in words
    assert "Node-hours, local 0.268 charged" in words
    assert "Commit c0ffee" in words
    assert "frozen m0, pretrained on 960 events" in words
    assert "width 64, 4 layers 345,678 parameters" in words
    assert "240 labelled events, seed 2" in words
    assert "of 125 events 5e5e5e5e5e5e ab12ab12ab12" in words
    assert "true: 14 particles" in words
    assert "found: 16 tracks" in words
    assert "labelled train 249 213,144 856 15.6" in words
    assert "labelled test 125 107,000 856 12.4" in words, "a split's tracks are its own"
    assert "Left out: 3 too many points" in words
    assert "Source files verified:" in words
    assert "simulate/collisions 5 7.5 s" in words
    assert "What they went into, and what was lost to what local" in words
    assert re.search(r"lost: \w+|steps that count|without a step: \w+", words)
    assert "Not everything could be read" not in words


def test_what_links_cost_is_told(page):
    row = re.search(
        r"<td>pretrain/m0-d960-s1</td><td class=\"n\">1</td>(.*?)</tr>", page, re.DOTALL
    )
    assert re.findall(r">([^<>]*)</td>", row[1]) == ["30.0 s", "15 %", "–", "–"]


def test_several_seeds_give_mean_and_deviation(page):
    assert "0.9250 ± 0.0071" in text_of(page)


def test_one_seed_gives_the_interval_over_events(whole, campaign, site):
    one = campaign.finetune["tracking"].model_copy(update={"seeds": (1,)})
    single = campaign.model_copy(update={"finetune": {"tracking": one}})
    assert "0.9200 0.9160 – 0.9240" in text_of(write_report(whole, single, site).read_text())


def test_a_score_that_was_not_taken_is_a_dash(page):
    frozen, full = re.search(
        r"Hit purity.*? frozen .*?240 2 (.*?) full .*?240 2 (.*?) scratch", text_of(page)
    ).groups()
    assert " – " in frozen
    assert " – " not in full


def test_a_score_that_no_setting_has_takes_no_column(page):
    heads = re.findall(r"<th class=\"n\">([^<]*)</th>", page)
    assert "Hit efficiency" in heads
    assert "Hit efficiency, pooled" not in heads


@pytest.mark.parametrize("name", ["page", "page_of_every_task", "page_of_a_grid"])
def test_a_page_needs_nothing_else(name, request):
    page = request.getfixturevalue(name)
    html = Page(page)
    assert [each for each in html.fetched if not each.startswith(("#", "data:"))] == []
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert "<script src" not in page


@pytest.mark.parametrize("name", ["page", "page_of_every_task", "page_of_a_grid"])
def test_a_page_is_well_formed(name, request):
    html = Page(request.getfixturevalue(name))
    assert html.unclosed == []
    assert html.open == []


def test_words_of_the_user_are_shown_and_not_obeyed(page):
    assert "Two seeds &amp; &lt;tags&gt;." in page


def test_figures_take_the_colours_of_the_page(page):
    assert page.count("<svg") >= 6
    assert "#010203" not in page
    assert "currentColor" in page


def test_writing_it_again_gives_the_same_but_for_the_hour(whole, campaign, site):
    first, again = (write_report(whole, campaign, site).read_text() for _ in range(2))
    hour = re.compile(r"Written .* UTC")
    assert hour.sub("", first) == hour.sub("", again)


def test_a_campaign_that_never_began_has_an_honest_page(fresh, campaign, site):
    words = text_of(write_report(fresh, campaign, site).read_text())
    assert "Tasks done 0 of 17" in words
    assert "Best ARI" not in words
    for sentence in (
        "No evaluation is finished yet.",
        "No evaluation has left events to show.",
        "No training has begun yet.",
        "The ledger holds no record.",
        "unlabelled not staged yet",
        "pretrain/m0-d960-s1 waiting",
    ):
        assert sentence in words


def test_failed_running_queued_and_interrupted_tasks_say_so(fresh, campaign, site):
    ledger = Ledger(fresh.ledger)
    about = {"site": "local", "stage": "finetune"}
    name = "finetune/tracking-m0-d960-s1-{}-l240-s1"
    scratch = "finetune/tracking-m0-scratch-l240-s1"
    for kind, task in ((Kind.START, name.format("full")), (Kind.RESERVE, scratch)):
        ledger.append(Record(kind=kind, time=1, task=task, job_key=task, **about))
    fresh.task("pretrain/m0-d960-s1").fail("diverged", "The loss is nan after 48 events.")
    write_json(
        fresh.task(name.format("frozen")).progress, {"done": 1500, "total": 2000, "unit": "events"}
    )
    write_json(fresh.task("simulate/collisions").parts / "000.json", {"seconds": 1})
    words = text_of(write_report(fresh, campaign, site).read_text())
    assert "pretrain/m0-d960-s1 failed The loss is nan after 48 events." in words
    assert name.format("full") + " running" in words
    assert scratch + " queued" in words
    assert name.format("frozen") + " begun 1,500 of 2,000 events" in words
    assert "simulate/collisions begun 1 of 5 files" in words
    assert "stage/labelled waiting 0 of 3 files" in words


def test_what_is_damaged_is_named_and_the_rest_shown(whole, campaign, site):
    evaluate = "evaluate/tracking-m0-d960-s1-full-l240-s{}"
    write_text(whole.task(evaluate.format(2)).result, '{"ari": ')
    (whole.task(evaluate.format(1)).path / "events.npz").write_bytes(b"PK broken")
    write_text(whole.task("pretrain/m0-d960-s1").metrics, "{}}\n")
    write_text(next(whole.ledger.glob("*.json")), "")
    words = text_of(write_report(whole, campaign, site).read_text())
    assert "Not everything could be read." in words
    for damaged in (
        "result.json: damaged",
        "events.npz",
        "metrics.jsonl: cannot be read",
        "ledger",
    ):
        assert damaged in words
    assert "0.9250 ± 0.0071" in words


def test_what_is_expected_is_drawn_until_it_is_damaged(whole, campaign, site):
    assert "outcomes" not in write_report(whole, campaign, site).read_text()
    bounds = {"low": 1.0, "middle": 2.0, "high": 3.0}
    told = {"site": "local", "now": 2000.0, "spent_node_hours": 1.0}
    write_json(whole.forecast, {**told, "node_hours": bounds, "days": bounds})
    page = write_report(whole, campaign, site).read_text()
    assert "Node-hours of local in time" in page
    assert "4 of 5 outcomes" in page
    write_text(whole.forecast, "{}")
    page = write_report(whole, campaign, site).read_text()
    assert "no forecast. Move it away" in page
    assert "Node-hours of local in time" in page


def test_a_torn_last_line_of_metrics_is_no_damage(whole, campaign, site):
    metrics = whole.task("pretrain/m0-d960-s1").metrics
    metrics.write_text(metrics.read_text() + '{"step": 251, "eve')
    page = write_report(whole, campaign, site).read_text()
    assert "Not everything could be read" not in page


def test_a_campaign_whose_sources_are_gone_shows_what_is_on_disk(whole, campaign, site):
    key = "pretrain/m0-d960-s1"
    task = next(each for each in campaign.tasks(whole) if each.key == key)
    declare(whole.task(key), task)
    moved = campaign.datasets["labelled"].model_copy(
        update={"simulation": "", "folder": "/nowhere", "splits": {"train": ("*.root",)}}
    )
    gone = campaign.model_copy(update={"datasets": campaign.datasets | {"labelled": moved}})
    words = text_of(write_report(whole, gone, site).read_text())
    assert "no file matches *.root" in words
    assert "Tasks that never began are not listed." in words
    assert "pretrain/m0-d960-s1 done" in words


def test_results_are_the_same_when_the_sources_are_gone(whole, campaign, site):
    """The models of all rows are known by what was recorded when the tasks were run."""
    for task in campaign.tasks(whole):
        declare(whole.task(task.key), task)
    page = text_of(write_report(whole, campaign, site).read_text())
    before = json.loads(results_as(whole, campaign, "json")[0])
    assert {each["model"] for each in before} == {"m0"}
    moved = campaign.datasets["labelled"].model_copy(
        update={"simulation": "", "folder": "/nowhere", "splits": {"train": ("*.root",)}}
    )
    gone = campaign.model_copy(update={"datasets": campaign.datasets | {"labelled": moved}})
    text, problems = results_as(whole, gone, "json")
    assert problems == [], "what was staged is known by its task"
    assert json.loads(text) == before
    words = text_of(write_report(whole, gone, site).read_text())
    assert "model unknown" not in words
    assert page.count("frozen m0") == words.count("frozen m0") > 0


def test_a_store_of_which_the_tracks_are_not_known_shows_none(whole, campaign, site):
    path = whole.store("labelled") / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["shards"][0]["tracks"]
    path.write_text(json.dumps(manifest))
    words = text_of(write_report(whole, campaign, site).read_text())
    assert "labelled train 249 213,144 856 15.6" not in words
    assert "labelled test 125 107,000 856 12.4" in words


def test_node_hours_of_two_sites_are_two_numbers(whole, campaign, site):
    far = {"site": "far", "stage": "pretrain", "task": "pretrain/m0", "job_key": "f"}
    Ledger(whole.ledger).append(Record(kind=Kind.END, time=1, node_hours=5, **far))
    words = text_of(write_report(whole, campaign, site).read_text())
    assert "Node-hours, local 0.268 charged" in words
    assert "Node-hours, far 5 charged" in words
    assert "5.268" not in words


def test_without_matplotlib_the_message_says_what_to_install(fresh, campaign, site, monkeypatch):
    for name in [each for each in sys.modules if each.startswith("pipeline.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RunError, match=r"needs matplotlib.* pip install 'cosmotron\[report\]'"):
        write_report(fresh, campaign, site)


def test_importing_the_report_loads_nothing_that_draws():
    program = "import sys, pipeline.report; print({'matplotlib', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


def test_a_page_is_replaced_as_a_whole(whole, campaign, site):
    before = write_report(whole, campaign, site)
    shutil.rmtree(whole.ledger)
    assert write_report(whole, campaign, site) == before
    assert [path.name for path in whole.report.iterdir()] == ["index.html"]
