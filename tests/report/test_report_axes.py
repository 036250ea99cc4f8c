"""Every axis of every figure of the page says what it shows, with the unit of what has one."""

import re
from datetime import UTC, datetime

import pytest
from matplotlib.figure import Figure

from pipeline.report.page import content_of
from pipeline.report.sections import Plot

UNIT = re.compile(r"\[[^\]]+\]$|, rad$")
# What is counted, a ratio, or a coordinate that has no unit.
DIMENSIONLESS = re.compile(
    r"UTC|loss|events|parameters|share|ratio|node-hours|efficiency|purity|rate|ARI|accuracy|AUC|Δη|Δφ|"
    r"rejection|relative|probability|pT resolution|ε_?S|confidence|R²|sigma8",
    re.IGNORECASE,
)


def plots_in(found):
    """Yield the plots that lie anywhere in the content of a page."""
    if isinstance(found, Plot):
        yield found
    elif isinstance(found, dict):
        for each in found.values():
            yield from plots_in(each)
    elif isinstance(found, list | tuple):
        for each in found:
            yield from plots_in(each)
    elif hasattr(found, "__dataclass_fields__") and not isinstance(found, Figure):
        for name in found.__dataclass_fields__:
            yield from plots_in(getattr(found, name))


def labels(figure):
    """Yield the labels of the axes that are drawn, shared ones once."""
    for axes in figure.axes:
        if not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            ticks = {each.get_text() for each in axis.get_ticklabels() if each.get_visible()} - {""}
            if axis.get_visible() and (any(map(is_number, ticks)) or axis.get_label_text()):
                yield axis, axis.get_label_text()


def is_number(text):
    """Whether a tick says a number, and not the name of a stage or a date."""
    return re.fullmatch(r"[-−+]?[\d,.]+(e[-+]?\d+)?", text) is not None


@pytest.fixture
def drawn(request, site):
    """The plots of one run's page."""
    run, campaign = request.getfixturevalue(request.param)
    return list(plots_in(content_of(run, campaign, site, datetime.now(UTC))))


@pytest.mark.parametrize("drawn", ["every_task", "probed_grid"], indirect=True)
def test_axes_have_words_and_units(drawn):
    assert drawn
    found = {(plot.title, text) for plot in drawn for _, text in labels(plot.figure) if text}
    assert found
    wrong = {
        each for each in found if not UNIT.search(each[1]) and not DIMENSIONLESS.search(each[1])
    }
    assert not wrong, sorted(wrong)


@pytest.mark.parametrize("drawn", ["every_task", "probed_grid"], indirect=True)
def test_no_axis_is_nameless(drawn):
    nameless = []
    for plot in drawn:
        plot.figure.draw_without_rendering()
        nameless += [plot.title for _, text in labels(plot.figure) if not text]
    assert sorted(nameless) == []
