"""The grid of models × data sizes, whose cells show their loss curves."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from pipeline.campaign import Campaign
from pipeline.report import write_report
from pipeline.report.grid import grid_chart, grids
from pipeline.report.plots import Curve
from pipeline.report.reader import Reader
from pipeline.report.tasks import view_tasks


def views(probed_grid):
    run, asked = probed_grid
    return list(grids(view_tasks(run, asked, Reader(), []), asked))


def test_models_stand_below_each_other_and_data_beside(probed_grid):
    (view,) = views(probed_grid)
    assert view.name == "heldout, fm4npp-mamba2"
    assert list(view.models) == ["small", "large"]
    assert list(view.events) == [100, 1000]
    assert view.cells["small", 100].loss == pytest.approx(2.0)  # the mean of two seeds


def test_a_cell_that_is_not_probed_is_a_dash(probed_grid, page_of_a_grid):
    (view,) = views(probed_grid)
    assert ("large", 1000) not in view.cells
    table = re.search(r'<table class="matrix grid">.*?</table>', page_of_a_grid, re.DOTALL)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", table[0])).strip()
    assert words == "model ↓ events → 100 1,000 small 2.0000 1.5000 large 1.0000 –"


def test_the_least_loss_is_the_darkest_and_words_on_it_are_light(probed_grid):
    (view,) = views(probed_grid)
    dark, light = view.cells["large", 100], view.cells["small", 100]
    assert sum(to_rgb(dark.colour)) < sum(to_rgb(light.colour))
    assert (dark.ink, light.ink) == ("#ffffff", "#000000")


def test_each_cell_leads_to_its_curve_without_a_script(page_of_a_grid):
    page = page_of_a_grid
    anchors = re.findall(r'<a href="#(curve-[^"]+)"', page)
    assert len(anchors) == len(set(anchors)) == 3
    for anchor in anchors:
        assert page.count(f'<g id="{anchor}">') == 1
    assert "g:target path" in page


def test_a_page_of_one_model_on_one_size_has_no_grid(whole, campaign, site):
    assert "Models and data" not in write_report(whole, campaign, site).read_text()


def test_seeds_of_a_cell_are_one_line_with_a_gap(probed_grid):
    (view,) = views(probed_grid)
    curve = Curve("m", np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    lines = grid_chart(view, lambda _: curve).axes[0].lines
    assert [int(np.isnan(each.get_ydata()).sum()) for each in lines] == [1, 0, 0]
    assert lines[0].get_gid() == view.cells["small", 100].anchor


def test_without_any_loss_curve_there_is_no_chart(probed_grid):
    (view,) = views(probed_grid)
    nothing = Curve("m", np.array([]), np.array([]))
    assert grid_chart(view, lambda _: nothing) is None


def test_a_model_that_the_campaign_forgot_stays_on_the_page(probed_grid):
    run, asked = probed_grid
    tasks = view_tasks(run, asked, Reader(), [])
    declared = asked.model_dump()
    declared["models"]["small"]["width"] = 96
    (view,) = grids(tasks, Campaign.model_validate(declared))
    assert list(view.models) == ["model unknown", "large"]
