from dataclasses import replace

import numpy as np
import pytest
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate


def with_value(value, *, column):
    good = events([2, 3, 4])
    points = good.points.copy()
    points[3, column] = value
    return {"points": points, "good": good}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_no_number_is_refused_with_its_event(value):
    made = with_value(value, column=2)
    with pytest.raises(BadInput, match=r"made.npz: 1 of 9 points hold NaN.*first in event 1"):
        replace(made["good"], points=made["points"])


def test_negative_energy_is_refused_with_its_event():
    made = with_value(-1.0, column=0)
    with pytest.raises(BadInput, match=r"1 of 9 points have negative energy.*event 1"):
        replace(made["good"], points=made["points"])


def test_a_negative_coordinate_is_none_of_our_business():
    made = with_value(-70.0, column=1)
    assert replace(made["good"], points=made["points"]).points[3, 1] == -70


def test_sizes_must_sum_to_the_points():
    good = events([2, 3])
    with pytest.raises(BadInput, match="event sizes sum to 6, but there are 5 points"):
        replace(good, offsets=np.array([0, 2, 6]))


def test_offsets_must_rise():
    with pytest.raises(BadInput, match="offsets do not rise through 2 events"):
        replace(events([2, 3]), offsets=np.array([0, 7, 5]))


def test_points_must_have_a_column_for_each_name():
    good = events([2])
    with pytest.raises(BadInput, match=r"shape \(2, 3\); expected \(points, 4\)"):
        replace(good, points=good.points[:, :3])


def test_labels_must_be_one_per_point():
    good = events([2, 3])
    with pytest.raises(BadInput, match=r"pid has shape \(4,\); expected \(5,\)"):
        replace(good, per_point={"pid": np.zeros(4, np.int8)})


def test_a_slice_holds_the_same_events():
    whole = events([2, 0, 4, 1])
    part = whole.slice(1, 3)
    assert part.sizes.tolist() == [0, 4]
    assert part.event_id.tolist() == [1, 2]
    np.testing.assert_array_equal(part.points, whole.points[2:6])
    np.testing.assert_array_equal(part.per_point["pid"], whole.per_point["pid"][2:6])


def test_selected_events_keep_their_ids_and_points():
    whole = events([2, 3, 4])
    kept = whole.select(np.array([True, False, True]))
    assert kept.event_id.tolist() == [0, 2]
    np.testing.assert_array_equal(kept.points, np.delete(whole.points, [2, 3, 4], axis=0))


def test_slices_concatenate_to_the_whole():
    whole = events([2, 0, 4, 1])
    again = concatenate([whole.slice(0, 1), whole.slice(1, 4)])
    np.testing.assert_array_equal(again.offsets, whole.offsets)
    np.testing.assert_array_equal(again.points, whole.points)
    np.testing.assert_array_equal(again.per_point["noise"], whole.per_point["noise"])
