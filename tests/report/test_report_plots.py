import numpy as np
import pytest

from pipeline.budget.account import Account
from pipeline.budget.forecast import Forecast, Interval
from pipeline.budget.summary import Row
from pipeline.drawing.event import events_of
from pipeline.drawing.figure import PALETTE, to_svg
from pipeline.drawing.tracks import MOSTLY_NOISE, Tracks, event_display, found_styles, styles
from pipeline.report.plots import Curve, binned, loss_curves, node_hours_chart
from pipeline.report.spending import spending_chart


def curve(loss, label="m0"):
    return Curve(label, np.arange(1, len(loss) + 1) * 8.0, np.array(loss, dtype=float))


def test_a_long_curve_is_drawn_as_medians_that_keep_its_shape():
    rng = np.random.default_rng(0)
    events, low, middle, high = binned(curve(5 + rng.normal(size=100_000)))
    assert len(events) <= 120
    assert middle == pytest.approx(5, abs=0.15)
    assert high - low == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_training_that_has_just_begun_has_a_curve(steps):
    assert "<svg" in to_svg(loss_curves([curve([1.0] * steps)]), "loss")


def test_losses_that_fall_by_decades_have_a_logarithmic_axis():
    assert loss_curves([curve([10, 1, 0.1])]).axes[0].get_yscale() == "log"
    assert loss_curves([curve([3, 2, 1])]).axes[0].get_yscale() == "linear"
    assert loss_curves([curve([3, 1, -1])]).axes[0].get_yscale() == "linear"


def test_many_curves_stay_told_apart():
    lines = loss_curves([curve([2, 1], f"m{n}") for n in range(20)]).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20


def test_a_bar_says_what_is_charged_and_what_is_reserved():
    rows = [
        Row("here", "pretrain", 2, 1.5, 2.0, None, {}),
        Row("here", "pilot", 1, 0.0, 0.25, None, {}),
    ]
    axes = node_hours_chart(rows).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3.5", "0.25"]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 0.25, 1.5, 0.0]  # type: ignore[attr-defined]


def test_no_node_hour_at_all_can_be_drawn():
    assert "<svg" in to_svg(
        node_hours_chart([Row("here", "pretrain", 1, 0.0, 0.0, None, {})]), "none"
    )


def test_points_come_back_in_cartesian_coordinates():
    x, y, z = 30.0, -40.0, 20.0
    r = np.hypot(x, y)
    points = np.array([[1, np.arctanh(z / np.sqrt(r**2 + z**2)), np.arctan2(y, x), r]])
    arrays = {"points": points, "offsets": np.array([0, 1]), "event_id": np.array([5])}
    arrays |= {"true_track": np.array([1]), "predicted_track": np.array([2])}
    (event,) = events_of(arrays)
    assert event.id == 5
    assert event.position[0] == pytest.approx([x, y, z])


def test_arrays_of_another_make_show_no_event():
    assert list(events_of({"points": np.zeros((1, 4))})) == []


def test_the_largest_particles_have_the_clearest_looks():
    drawn = styles(np.array([0, 0, 0, 7, 9, 9]))
    assert [drawn[9].colour, drawn[7].colour] == list(PALETTE[:2])


def test_a_found_track_looks_like_its_particle_and_a_further_one_is_hollow():
    true = np.array([1, 1, 1, 1, 1, 0, 0, 0, 2])
    found = np.array([4, 4, 4, 5, 5, 6, 6, 0, 0])
    truth = styles(true)
    drawn = found_styles(Tracks(np.zeros((9, 3)), true, found), truth)
    assert (drawn[4].colour, drawn[4].filled) == (truth[1].colour, True)
    assert (drawn[5].colour, drawn[5].filled) == (truth[1].colour, False)
    assert drawn[6] == MOSTLY_NOISE


def test_an_event_where_nothing_was_found_can_be_drawn():
    event = Tracks(np.ones((4, 3)), np.array([1, 1, 2, 2]), np.zeros(4, int))
    titles = [axes.get_title() for axes in event_display(event).axes]
    assert titles[:2] == ["true: 2 particles", "found: 0 tracks"]


def job(node_hours, start, end):
    fields = {"site": "frontier", "stage": "pretrain", "task": "t", "job_key": "k", "job_id": "1"}
    hours = {"reserved_node_hours": 0.0, "charged_node_hours": node_hours}
    times = {"seconds": 60, "start": start, "end": end}
    return Account(nodes=1.0, state="completed", **fields, **hours, **times)


def test_spending_shows_what_was_what_may_come_and_the_cap():
    jobs = [job(10, 1e9, 1e9 + 3e4), job(0, 1e9, None)]
    expected = Forecast("frontier", 1e9 + 4e4, 10.0, Interval(90, 100, 120), Interval(1, 2, 4))
    text = to_svg(spending_chart(jobs, expected, 150.0), "node-hours")
    for each in ("charged", "4 of 5 outcomes, seen from 2001-09-09", "the cap"):
        assert each in text
    text = to_svg(spending_chart(jobs, None, None), "node-hours")
    assert "outcomes" not in text
    assert "the cap" not in text
