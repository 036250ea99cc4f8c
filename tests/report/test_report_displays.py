"""Displays of events of each downstream task."""

import json

import numpy as np
import pytest
from made_evaluations import MAKERS

from pipeline.downstream import TASKS
from pipeline.drawing.event import events_of
from pipeline.drawing.figure import PALETTE, to_svg
from pipeline.drawing.scene import Scene, View
from pipeline.report.displays import display_of
from pipeline.report.displays import drawn as drawn_of


def drawn(name, arrays, names, most):
    """Draw the events of the task `name` as declared, whatever its settings."""
    return drawn_of(TASKS[name].model_construct(task=name), arrays, names, most)


def arrays_of(task):
    return MAKERS[task](2.0, np.random.default_rng(3))[1]


@pytest.mark.parametrize("task", MAKERS)
def test_the_first_events_of_each_task_can_be_drawn(task):
    shown = list(drawn(task, arrays_of(task), (), 3))
    assert len(shown) == 3
    assert "<svg" in to_svg(shown[0][1], "event")


@pytest.mark.parametrize("task", MAKERS)
def test_what_lacks_an_array_is_not_drawn(task):
    arrays = arrays_of(task)
    for name in [each for each in arrays if each.startswith("predicted_")]:
        assert list(drawn(task, {n: arrays[n] for n in arrays if n != name}, (), 3)) == []
    assert list(drawn(task, {}, (), 3)) == []


@pytest.mark.parametrize("task", MAKERS)
def test_points_of_other_columns_are_not_drawn(task):
    arrays = arrays_of(task)
    names = np.array([f"c{n}" for n in range(arrays["points"].shape[1])])
    assert list(drawn(task, arrays | {"columns": names}, (), 3)) == []


def test_points_without_an_energy_have_a_place_too():
    arrays = arrays_of("tracks")
    arrays |= {"points": arrays["points"][:, 1:], "columns": np.array(["eta", "phi", "r"])}
    assert len(list(drawn("tracks", arrays, (), 1))) == 1


def jet(told):
    return {
        "points": np.log([[40.0, 1, 1], [10.0, 1, 1]]).astype(np.float32),
        "columns": np.array(["log_pt", "deta", "dphi"]),
        "offsets": np.array([0, 2]),
        "event_id": np.array([4]),
        "true_label": np.array([1]),
        "predicted_probabilities": np.array([told]),
    }


def test_an_event_is_found_by_its_file_and_entry():
    known = {"source": np.array(["/data/jets/run_3.root"]), "entry": np.array([12])}
    for more, title in ((known, "run_3.root, entry 12"), ({}, "event 4")):
        ((found, _, _),) = drawn("jets", jet((0.2, 0.8)) | more, ("QCD", "top"), 3)
        assert found == title


@pytest.mark.parametrize(
    ("told", "title", "colour"),
    [
        ((0.2, 0.8), "true: top · predicted: top (80 %)", 0),
        ((0.9, 0.1), "true: top · predicted: QCD (90 %)", 5),
    ],
)
def test_a_jet_says_what_it_is_and_what_was_predicted(told, title, colour):
    ((_, figure, _),) = drawn("jets", jet(told), ("QCD", "top"), 3)
    (axes,) = figure.axes
    assert axes.get_title().splitlines() == [title, "2 constituents, Σ pT 50 GeV"]
    circles = axes.collections[0]
    assert circles.get_sizes().tolist() == pytest.approx([900, 225])  # areas are as pT  # type: ignore[attr-defined]
    assert circles.get_facecolor()[0][:3] == pytest.approx(
        [int(PALETTE[colour][n : n + 2], 16) / 255 for n in (1, 3, 5)]
    )


def test_a_jet_of_an_anomaly_search_says_how_much_it_is_like_the_data():
    arrays = jet((0.3, 0.7)) | {"columns": np.array(["px", "deta", "py"])}
    assert list(drawn("anomaly", arrays, ("QCD", "top"), 3)) == [], "no azimuth"
    arrays["columns"] = np.array(["log_pt", "deta", "dphi"])
    ((_, figure, _),) = drawn("anomaly", arrays, ("QCD", "top"), 3)
    assert figure.axes[0].get_title().splitlines()[0] == "true: top · as in the data: 70 %"


def test_momenta_say_how_hard_a_constituent_is():
    arrays = jet((0.2, 0.8))
    arrays["points"] = np.array([[3.0, 4.0, 0.1, 0.1], [6.0, 8.0, 0, 0]], np.float32)
    arrays["columns"] = np.array(["px", "py", "deta", "dphi"])
    ((_, figure, _),) = drawn("jets", arrays, ("QCD", "top"), 3)
    (axes,) = figure.axes
    assert axes.get_title().splitlines()[1] == "2 constituents, Σ pT 15 GeV"
    assert axes.collections[0].get_sizes().tolist() == pytest.approx([450, 900])  # type: ignore[attr-defined]


def neutrino():
    """One from above, told from the side; a sensor saw light twice."""
    return {
        "points": np.array([[10.0, 1.0], [20.0, 2.0], [5.0, 3.0]], np.float32),
        "columns": np.array(["time", "charge"]),
        "offsets": np.array([0, 3]),
        "event_id": np.array([1]),
        "true_sensor_id": np.array([1, 2, 1]),
        "true_azimuth": np.array([0.0]),
        "true_zenith": np.array([0.0]),
        "predicted_direction": np.array([[1.0, 0.0, 0.0]]),
        "geometry": np.array([[0.0, 0, 0], [0, 0, 100], [0, 0, -100]]),
    }


def test_a_sensor_is_coloured_by_its_first_light_and_sized_by_its_charge():
    ((_, figure, _),) = drawn("direction", neutrino(), (), 3)
    seen = figure.axes[1].collections[0]
    assert seen.get_offsets().tolist() == [[0, -100], [0, 100]]
    assert seen.get_array().tolist() == [15.0, 0.0]
    small, large = seen.get_sizes()  # type: ignore[attr-defined]
    assert small < large


def test_arrows_point_where_the_neutrino_went():
    ((_, figure, _),) = drawn("direction", neutrino(), (), 3)
    true, told = figure.axes[1].texts
    assert true.xyann[1] > true.xy[1]  # from above: downwards  # type: ignore[attr-defined]
    assert told.xyann[0] > told.xy[0]  # type: ignore[attr-defined]
    legend = [each.get_text() for each in figure.legends[0].texts]
    assert legend[1] == "predicted direction, 90.0° apart"


def test_sensors_whose_place_is_unknown_are_not_drawn():
    arrays = neutrino()
    del arrays["geometry"]
    assert list(drawn("direction", arrays, (), 3)) == []


def test_arrays_of_events_and_of_points_are_told_apart():
    (event,) = events_of(neutrino())
    assert event.arrays["true_sensor_id"].tolist() == [1, 2, 1]
    assert event.arrays["predicted_direction"].tolist() == [1, 0, 0]
    assert set(event.tables) == {"geometry"}


def test_every_task_has_a_display_and_words_below_it():
    for kind in TASKS.values():
        assert display_of(kind.model_construct()).CAPTION.endswith(".")


def test_events_of_each_task_stand_on_the_page(page_of_every_task):
    for words in (
        "predicted direction, ",
        "constituents, Σ pT",
        "% correct",
        "found: ",
        "pT [GeV]",
    ):
        assert words in page_of_every_task
    assert len(page_of_every_task) < 10_000_000


@pytest.mark.parametrize(("task", "views"), [("tracks", ["true", "found"]), ("direction", 1)])
def test_tracks_and_neutrinos_can_be_turned_in_space(task, views):
    _, _, scene = next(drawn(task, arrays_of(task), (), 1))
    told = json.loads(scene.json())
    titles = [view["title"] for view in told["views"]]
    assert titles == views if isinstance(views, list) else len(titles) == views
    for view in told["views"]:
        assert len(view["colours"]) == len(told["points"])
        assert max(view["colours"]) < len(told["palette"])
    assert [np.linalg.norm(each["direction"]).round(3) for each in told["arrows"]] == (
        [1, 1] if task == "direction" else []
    )


def test_a_great_event_is_cut_to_what_a_phone_turns():
    many = Scene(np.zeros((9000, 3)), "cm", [View("true", ["#000000"] * 9000)])
    assert len(json.loads(many.json())["points"]) == 4000


@pytest.mark.parametrize("task", ["jets", "particles", "momentum"])
def test_other_events_stay_flat(task):
    assert [scene for _, _, scene in drawn(task, arrays_of(task), (), 1)] == [None]
