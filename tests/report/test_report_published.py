"""Numbers of others beside the results of each task."""

import re

import pytest

from pipeline.campaign import Campaign
from pipeline.downstream import TASKS
from pipeline.report import write_report
from pipeline.report.published import CAUTION, columns, printed, title

BESIDE = {name: task.beside("published") for name, task in TASKS.items()}
PUBLISHED = {name: each.LITERATURE for name, each in BESIDE.items() if each is not None}


@pytest.mark.parametrize("task", PUBLISHED)
def test_every_number_has_a_source_and_a_name_of_ours(task):
    known = {*TASKS[task].SCORES, "ari_pooled"}
    for row in PUBLISHED[task].rows:
        assert row.source
        assert row.scores
        assert all(n in known or n.startswith("rejection_") for n in row.scores), row


@pytest.mark.parametrize("task", PUBLISHED)
def test_fractions_are_fractions_and_rejections_are_not(task):
    for row in PUBLISHED[task].rows:
        for name, value in row.scores.items():
            assert value > 10 if name.startswith("rejection") else 0 < value < 1


def test_titles_are_those_of_the_head_where_it_has_one():
    shown = TASKS["jets"].SCORES
    assert title("auc", shown) == "AUC"
    assert title("rejection_Hbb", shown) == "1/εB, Hbb"


@pytest.mark.parametrize(
    ("value", "text"), [(0.78, "0.780"), (0.9877, "0.9877"), (10638, "10,638"), (None, "–")]
)
def test_numbers_keep_the_digits_they_were_printed_with(value, text):
    assert printed(value) == text


def test_columns_are_those_that_a_benchmark_has():
    rows = PUBLISHED["jets"].benchmarks["Top tagging"]
    assert columns(rows) == ["accuracy", "auc", "rejection_50", "rejection_30"]
    assert len(rows) == 8


def test_the_page_shows_them_with_a_caution_and_what_disagrees(page_of_every_task):
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page_of_every_task))
    of_each_table = {id(each) for each in PUBLISHED.values()}
    assert words.count("Published numbers of") == len(of_each_table)
    assert words.count(CAUTION) == len(of_each_table)
    assert "Slides and paper disagree on Exa.TrkX" in words
    assert "FM4NPP m6, frozen 0.9448 0.9608 0.9308" in words
    assert "PolarBERT of the level of a silver medal 0.984 slides of PolarBERT" in words


def test_nothing_is_published_of_ones_own_experiment(every_task, site, tmp_path):
    run, asked = every_task
    (tmp_path / "mine.py").write_text("MINE = None\n")
    declared = asked.model_dump()
    declared["datasets"]["labelled"] |= {
        "experiment": f"{tmp_path}/mine.py:MINE",
        "simulation": "",
        "folder": str(tmp_path),
        "splits": {"train": ["a.npz"], "test": ["b.npz"]},
    }
    page = write_report(run, Campaign.model_validate(declared), site).read_text()
    assert "Results" in page
    assert "Published numbers of" not in page
