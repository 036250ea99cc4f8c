"""The results as JSON, CSV and LaTeX, for scripts and papers."""

import csv
import io
import json
import sys

import pytest
from made_evaluations import TASKS

from pipeline import records
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.records import Evaluated
from pipeline.report.tables import escaped, results_as
from pipeline.writing import write_text


def rows_of(run, campaign):
    text, problems = results_as(run, campaign, "csv")
    assert problems == []
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_each_score_of_each_setting(every_task):
    rows = rows_of(*every_task)
    jets = [row for row in rows if row["finetune"] == "jets"]
    assert {row["score"] for row in jets} >= {"accuracy", "auc", "calibration_error"}
    assert len(jets) == 4 * len({row["score"] for row in jets})  # two modes, two counts of labels
    accuracy = [row for row in jets if row["score"] == "accuracy"]
    assert [row["labels"] for row in accuracy if row["mode"] == "frozen"] == ["100", "1000"]
    assert sum(int(row["best"]) for row in accuracy) == 1
    first = accuracy[0]
    values = [float(each) for each in first["values"].split()]
    assert float(first["mean"]) == pytest.approx(sum(values) / 2)
    assert float(first["spread"]) > 0
    assert first["low"] == ""  # of several seeds the spread is told
    assert first["seeds"] == "1 2"
    assert first["stores"] == "5e" * 32
    assert [len(each) for each in first["weights"].split()] == [64, 64]


def test_node_hours_of_the_fine_tunings_stand_in_a_column_of_their_site(whole, campaign):
    keys = [each.key for each in campaign.tasks(whole) if each.stage == "finetune"]
    task = next(key for key in keys if "-full-" in key)
    far = {"site": "far", "stage": "finetune", "task": task, "job_key": "f"}
    Ledger(whole.ledger).append(Record(kind=Kind.END, time=1, node_hours=5, **far))
    full, frozen = (
        next(row for row in rows_of(whole, campaign) if row["mode"] == mode)
        for mode in ("full", "frozen")
    )
    assert float(full["node_hours_far"]) == 5
    assert float(full["node_hours_local"]) == pytest.approx(
        sum(each.charged_node_hours for each in local(whole, "full")), rel=1e-9
    )
    assert frozen["node_hours_far"] == ""


def local(run, mode):
    jobs = Ledger(run.ledger).accounts().values()
    return [each for each in jobs if mode in each.task and each.site == "local"]


def test_json_has_the_same_and_the_interval_of_one_seed(whole, campaign):
    one = campaign.finetune["tracking"].model_copy(update={"seeds": (1,)})
    single = campaign.model_copy(update={"finetune": {"tracking": one}})
    frozen = json.loads(results_as(whole, single, "json")[0])[0]
    assert (frozen["finetune"], frozen["task"], frozen["mode"]) == ("tracking", "tracks", "frozen")
    ari = frozen["scores"][0]
    assert (ari["score"], ari["title"], ari["mean"]) == ("ari", "ARI", pytest.approx(0.92))
    assert (ari["low"], ari["high"]) == (pytest.approx(0.916), pytest.approx(0.924))
    assert ari["spread"] is None
    assert frozen["weights"] == ["ab12" * 16]


def test_an_endless_interval_is_none_in_json(every_task):
    run, asked = every_task
    text, _ = results_as(run, asked, "json")
    assert "Infinity" not in text
    assert "NaN" not in text


def test_latex_is_a_booktabs_table_for_each_task_with_the_best_in_bold(every_task):
    text, _ = results_as(*every_task, "latex")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(TASKS)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == len(TASKS)
    tables = text.split(r"\begin{tabular}")
    (direction,) = (each for each in tables if "Mean angle" in each)
    assert r"Median, $^\circ$ & 68 \%, $^\circ$" in direction
    bold = [line for line in direction.splitlines() if r"\textbf{" in line]
    assert bold[0].startswith("frozen & m0 & 960 & 1,000 & \\textbf{0.")
    assert all(line.endswith(r"\\") for line in direction.splitlines() if "&" in line)
    assert len({line.count("&") for line in direction.splitlines() if "&" in line}) == 1


def test_words_of_a_user_do_not_break_latex():
    assert escaped(r"50 % of a_b & {c} ~^\#$") == (
        r"50 \% of a\_b \& \{c\} \textasciitilde{}\textasciicircum{}\textbackslash{}\#\$"
    )


@pytest.mark.parametrize(("form", "text"), [("json", "[]\n"), ("latex", "")])
def test_a_run_without_evaluations_has_an_empty_table(fresh, campaign, form, text):
    assert results_as(fresh, campaign, form) == (text, [])


def test_a_run_without_evaluations_has_a_heading_in_csv(fresh, campaign):
    text, _ = results_as(fresh, campaign, "csv")
    assert text.splitlines()[0].startswith("finetune,task,model,")
    assert len(text.splitlines()) == 1


def test_what_is_damaged_is_named_and_the_rest_told(whole, campaign):
    key = next(each.key for each in campaign.tasks(whole) if each.stage == "evaluate")
    write_text(whole.task(key).result, '{"ari": ')
    write_text(next(whole.ledger.glob("*.json")), "")
    text, problems = results_as(whole, campaign, "json")
    assert len(json.loads(text)) == 3
    assert any("result.json: damaged" in each for each in problems)
    assert any("ledger" in each for each in problems)


def test_a_score_that_is_no_number_is_left_out(whole, campaign):
    key = next(each.key for each in campaign.tasks(whole) if each.stage == "evaluate")
    result = records.read(whole.task(key).result, Evaluated)
    scores = result.scores | {"ari": float("nan")}
    records.write(whole.task(key).result, result.model_copy(update={"scores": scores}))
    first = json.loads(results_as(whole, campaign, "json")[0])[0]
    assert len(first["scores"][0]["values"]) == 1


def test_tables_need_nothing_that_draws(whole, campaign, monkeypatch):
    for name in [each for each in sys.modules if each.startswith("pipeline.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    from pipeline.report.tables import results_as as again

    assert again(whole, campaign, "csv")[0].count("tracking,tracks,m0") > 10
