"""Curves, confusion and histograms of evaluations on the page."""

import re

import pytest
from made_evaluations import MAKERS

from pipeline.drawing.figure import MUTED
from pipeline.evaluation.result import Curve, EvaluationResult, Matrix, WorkingPoint
from pipeline.report.labels import COLOURS
from pipeline.report.pictures import curves_chart, curves_charts, cuts, matrices


def look(*curves, matrices=()):
    return EvaluationResult({}, curves=curves, matrices=matrices).pictures


def line(name="efficiency", y=(0.5, 0.9), **more):
    return Curve(name, "pT [GeV]", "share", [1.0, 2.0], list(y), **more)


def test_modes_share_a_panel_and_keep_their_colours():
    told = {
        "full": look(line(low=[0.4, 0.8], high=[0.6, 1.0])),
        "scratch": look(line(y=(0.1, 0.2))),
    }
    (axes,) = curves_chart({mode: each.curves for mode, each in told.items()}).axes
    assert [each.get_color() for each in axes.lines] == [COLOURS["full"], COLOURS["scratch"]]
    assert axes.get_xlabel() == "pT [GeV]"
    assert len(axes.collections) == 1  # a band where an interval is known


def test_curves_of_other_axes_have_panels_of_their_own():
    other = Curve("ROC", "efficiency", "rejection", [0.1, 0.9], [1000.0, 2.0])
    first, second = curves_chart({"full": look(line(), other).curves}).axes
    assert first.get_yscale() == "linear"
    assert second.get_yscale() == "log"


def test_a_baseline_that_all_modes_share_is_drawn_once():
    told = {
        mode: look(line(y=y), line("baseline")) for mode, y in (("full", (1, 1)), ("lora", (0, 1)))
    }
    (axes,) = curves_chart({mode: each.curves for mode, each in told.items()}).axes
    labels = [each.get_label() for each in axes.lines]
    assert labels == ["full", "lora", "baseline"]
    assert axes.lines[-1].get_color() == MUTED


def test_groups_of_curves_are_charts_of_their_own():
    alone = Curve("ROC, b", "efficiency of b", "rejection", [0.1], [3.0], group="each class")
    charts = curves_charts({"full": [line(), alone], "scratch": [alone]})
    assert {name: len(chart.axes) for name, chart in charts.items()} == {"": 1, "each class": 1}
    assert len(charts["each class"].axes[0].lines) == 2


def test_cuts_are_a_row_for_each_pair_and_a_column_for_each_efficiency():
    points = [
        WorkingPoint("b", "QCD", 0.5, 0.9, 20.0, 18.0, 22.0),
        WorkingPoint("b", "QCD", 0.99, 0.1),
        WorkingPoint("t", "QCD", 0.5, 0.8, 30.0, 25.0, 36.0),
    ]
    found = cuts(points)
    assert found.efficiencies == [0.5, 0.99]
    assert found.rows == [("b", "QCD", points[:2]), ("t", "QCD", [points[2], None])]


def test_working_points_stand_on_the_page(page_of_every_task):
    assert "Working points: the background rejected" in page_of_every_task
    assert re.search(r"1/εB at<br>εS = 0.99</th>", page_of_every_task)
    assert re.search(r"<small>cut 0\.\d+</small>", page_of_every_task)


@pytest.mark.parametrize("told", [{}, {"full": look()}])
def test_without_curves_there_is_no_chart(told):
    assert curves_chart({mode: each.curves for mode, each in told.items()}) is None


def test_a_row_of_a_matrix_is_the_shares_of_a_true_class():
    (view,) = matrices([Matrix("confusion", ["a", "b"], [[3, 1], [0, 0]])])
    assert [cell.share for cell in view.rows[0]] == [0.75, 0.25]
    assert [cell.share for cell in view.rows[1]] == [0.0, 0.0]
    assert view.rows[0][0].opacity == pytest.approx(0.75 * 0.75, abs=1e-3)


def test_a_matrix_of_188_classes_is_not_written_out():
    names = [str(each) for each in range(188)]
    assert matrices([Matrix("confusion", names, [[1] * 188] * 188)]) == []


def test_pictures_of_each_task_and_mode_can_be_unfolded(page_of_every_task):
    with_pictures = MAKERS.keys() - {"tracks", "clusters", "edges", "vertices"}
    unfolded = page_of_every_task.count("Curves, confusion and histograms of each mode")
    assert unfolded == len(with_pictures)
    for title in ("Curves: jets", "Curves: momentum", "Histograms: direction, scratch"):
        assert f'aria-label="{title}"' in page_of_every_task
    table = re.search(r'<table class="matrix">.*?</table>', page_of_every_task, re.DOTALL)[0]
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", table))
    assert re.match(
        r" true ↓ predicted → other pion kaon proton electron other 0\.\d\d \d+ ", words
    )
