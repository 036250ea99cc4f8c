"""The figures of the page as files: each with its numbers, in the style that is asked for."""

import csv

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from report_fixtures import make_run

from pipeline.drawing.figure import style, styled_as
from pipeline.drawing.values import values_of
from pipeline.report import figures
from pipeline.report.figures import write_figures
from pipeline.run import Run


@pytest.fixture(scope="module")
def done(campaign, tmp_path_factory):
    """A run whose every task is done, without events to display."""
    run = Run(tmp_path_factory.mktemp("done"), "quickstart")
    make_run(run, campaign, events=0)
    return run


@pytest.fixture(scope="module")
def written(done, campaign, site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    told = []
    paths = write_figures(done, campaign, site, folder, done=lambda *each: told.append(each))
    assert told == [(number, len(paths)) for number in range(1, len(paths) + 1)]
    return folder, paths


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_figure_is_written_as_pdf_svg_and_csv(written):
    folder, paths = written
    assert {each.name for each in paths} >= {"fine-tuning.pdf", "pretraining.pdf"}
    for path in paths:
        assert path.read_bytes().startswith(b"%PDF")
        assert "</svg>" in path.with_suffix(".svg").read_text()
        assert rows(path.with_suffix(".csv"))
    assert len(list(folder.iterdir())) == 3 * len(paths)


def test_the_same_figures_are_the_same_bytes(done, campaign, site, written, tmp_path):
    for path in write_figures(done, campaign, site, tmp_path):
        if "in-time" not in path.name and "where" not in path.name:
            for one in (path, path.with_suffix(".svg"), path.with_suffix(".csv")):
                assert one.read_bytes() == (written[0] / one.name).read_bytes(), one.name


def test_numbers_are_those_that_are_drawn():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot([1, 2], [3, 4], label="full")
    left.fill_between([1, 2], [2.5, 3.5], [3.5, 4.5], label="68 %")
    left.errorbar([5], [6], yerr=[0.5])
    left.set_title("efficiency")
    right.stairs([7, 8], [0, 1, 2], label="truth")
    right.barh(["stage", "train"], [0.5, 1.5], label="charged")
    right.scatter([9], [10])
    found = [(v.panel, v.kind, v.label, v.x, v.y, v.high) for v in values_of(figure)]
    assert found == [
        ("1 efficiency", "line", "full", 1, 3, None),
        ("1 efficiency", "line", "full", 2, 4, None),
        ("1 efficiency", "line", "", 5, 6, None),
        ("1 efficiency", "band", "68 %", 1, 2.5, 3.5),
        ("1 efficiency", "band", "68 %", 2, 3.5, 4.5),
        ("1 efficiency", "error", "", 5, 5.5, 6.5),
        ("2", "bin", "truth", 0, 7, 1),
        ("2", "bin", "truth", 1, 8, 2),
        ("2", "bar", "charged", "stage", 0.5, None),
        ("2", "bar", "charged", "train", 1.5, None),
        ("2", "point", "", 9, 10, None),
    ]


@pytest.mark.parametrize("name", ["alice", "atlas", "cms", "dune", "lhcb", "sphenix"])
def test_a_style_changes_fonts_and_frames_and_not_sizes(name):
    def settings():
        with style():
            look = {key: mpl.rcParams[key] for key in ("font.sans-serif", "xtick.minor.visible")}
            return look, mpl.rcParams["font.size"], mpl.rcParams["axes.labelsize"]

    ours = settings()
    with styled_as(name):
        theirs = settings()
    assert theirs[0] != ours[0]
    assert theirs[1:] == ours[1:]
    assert settings() == ours


def test_a_folder_that_cannot_be_written_leaves_no_half_of_a_figure(
    done, campaign, site, tmp_path, monkeypatch
):
    def full(_):
        message = "No space left on device"
        raise OSError(28, message)

    monkeypatch.setattr(figures, "as_csv", full)
    with pytest.raises(OSError, match="No space left"):
        write_figures(done, campaign, site, tmp_path)
    assert list(tmp_path.iterdir()) == []
