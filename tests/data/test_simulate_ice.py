import numpy as np
import pyarrow.parquet as pq
import pytest
from made_events import simulate_task, stage_task
from made_pulses import read, same

from pipeline.data.events import Events
from pipeline.data.preparation.directions import unit_vectors
from pipeline.data.preparation.pulses import in_time_order, select_pulses
from pipeline.data.program import run
from pipeline.data.simulate import SIMULATE, part_seed
from pipeline.data.simulation.ice import NUMBER_BITS, SIMULATOR, make
from pipeline.data.simulation.ice_array import MODULES, SENSORS, positions_m
from pipeline.data.simulation.ice_light import (
    CONE,
    GROUP_INDEX,
    LIGHT_M_PER_NS,
    Sources,
    draw,
    shine,
)
from pipeline.data.simulation.ice_pulses import _signal, coincident
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.evaluation.directions import opening_angles


@pytest.fixture(scope="module")
def made() -> Events:
    return make(600, seed=3, source="made")


def task(path, **changes):
    asked = {"experiment": "icecube", "format": "parquet", "files": {"train": 2, "test": 1}}
    return simulate_task(path, **{**asked, "events_per_file": 20, **changes})


def simulate(folder, *steps):
    return [run(SIMULATE, [str(folder.path), *step.split()]) for step in steps]


def contents(output):
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file()
    }


def source(*, is_track, position, direction, energy_gev=1e3):
    zenith, azimuth = np.arccos(-direction[2]), np.arctan2(-direction[1], -direction[0])
    return Sources(
        np.array([is_track]),
        np.array([position], np.float64),
        np.array([direction], np.float64),
        np.array([azimuth]),
        np.array([zenith]),
        np.array([energy_gev]),
    )


def line_fit(events, sensors):
    """Return the directions (E, 3) of the lines that fit position to time, weighted by charge."""
    events = events.thin(~events.per_point["auxiliary"])
    event, count = events.event, len(events)

    def mean(values):
        return np.bincount(event, weights=charge * values, minlength=count) / total

    charge = events.column("charge").astype(np.float64)
    total = np.bincount(event, weights=charge, minlength=count)
    time = events.column("time").astype(np.float64)
    time -= mean(time)[event]
    place = sensors[events.per_point["sensor_id"]]
    return np.column_stack([mean(time * axis) for axis in place.T])


def test_the_array_is_as_large_as_icecube():
    sensors = positions_m()
    assert sensors.shape == (SENSORS, 3) == (5160, 3)
    strings = sensors.reshape(-1, MODULES, 3)
    assert len(strings) == 86
    assert len(np.unique(np.round(sensors, 3), axis=0)) == SENSORS
    assert np.all(np.diff(strings[:, :, 2], axis=1) < 0)
    np.testing.assert_allclose(np.diff(strings[:78, :, 2], axis=1), -17)
    sites = strings[:78, 0, :2]
    gaps = np.linalg.norm(sites[:, None] - sites[None], axis=2) + 1e9 * np.eye(78)
    np.testing.assert_allclose(gaps.min(axis=1), 125)
    assert np.abs(sensors[:, :2]).max() < 620
    assert np.hypot(*strings[78:, 0, :2].T).max() < 150


def test_light_of_a_track_arrives_on_the_cone():
    track = source(is_track=True, position=(0, 0, -500), direction=(0, 0, 1))
    light = shine(track, np.array([[30.0, 0, 100], [30, 0, 200], [60, 0, 100]]), least_pe=0)
    path = 30 / np.sin(CONE)
    expected = (600 - 30 / np.tan(CONE) + path * GROUP_INDEX) / LIGHT_M_PER_NS
    np.testing.assert_allclose(light.direct_ns[0], expected)
    np.testing.assert_allclose(light.direct_ns[1] - light.direct_ns[0], 100 / LIGHT_M_PER_NS)
    assert light.expected_pe[0] > 2 * light.expected_pe[2]


def test_a_stopped_muon_is_dark():
    track = source(is_track=True, position=(0, 0, 0), direction=(0, 0, 1), energy_gev=24)
    light = shine(track, np.array([[20.0, 0, 80], [20, 0, 130], [20, 0, -10]]))
    assert light.sensor.tolist() == [0]


def test_light_of_a_cascade_is_a_sphere_brighter_ahead():
    shower = source(is_track=False, position=(0, 0, 0), direction=(0, 0, 1))
    light = shine(shower, np.array([[0.0, 0, 40], [0, 0, -40], [0, 0, 80], [24, 0, 32]]))
    np.testing.assert_allclose(
        light.direct_ns, np.array([40, 40, 80, 40]) * GROUP_INDEX / LIGHT_M_PER_NS
    )
    ahead, behind, far, cone = light.expected_pe
    assert cone > ahead > behind > 0
    assert ahead / far == pytest.approx(4 * np.exp(40 / 29))


def test_directions_say_where_particles_come_from():
    sources = draw(5000, np.random.default_rng(1))
    vectors = unit_vectors(sources.azimuth, sources.zenith)
    np.testing.assert_allclose(sources.direction, -vectors)
    assert np.abs(vectors.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose((vectors**2).mean(axis=0), 1 / 3, atol=0.02)
    assert sources.energy_gev.min() >= 1e2
    assert sources.energy_gev.max() <= 1e6


def test_coincidence_is_on_the_string_within_two_modules_and_a_microsecond():
    def pair(event, sensor, time):
        return coincident(np.array(event), np.array(sensor), np.array(time)).tolist()

    assert pair([0, 0], [70, 72], [5000, 6000]) == [True, True]
    assert pair([0, 0], [70, 72], [5000, 6001]) == [False, False]
    assert pair([0, 0], [70, 73], [5000, 5000]) == [False, False]
    assert pair([0, 0], [70, 70], [5000, 5000]) == [False, False]
    assert pair([0, 0], [59, 60], [5000, 5000]) == [False, False]
    assert pair([0, 1], [70, 71], [5000, 5000]) == [False, False]
    assert pair([0, 0, 0], [71, 70, 30], [5000, 5500, 5000]) == [True, True, False]


def test_coincidence_is_that_of_a_plain_search(made):
    events = made.slice(0, 20)
    event, sensor = events.event, events.per_point["sensor_id"].astype(np.int64)
    time = events.column("time").astype(np.int64)
    step = np.abs(sensor[:, None] - sensor)
    pairs = (event[:, None] == event) & (sensor[:, None] // MODULES == sensor // MODULES)
    pairs &= (step >= 1) & (step <= 2) & (np.abs(time[:, None] - time) <= 1000)
    np.testing.assert_array_equal(events.per_point["auxiliary"], ~pairs.any(axis=1))


def test_every_event_triggers_and_is_in_time_order(made):
    good = np.bincount(made.event[~made.per_point["auxiliary"]], minlength=len(made))
    assert good.min() >= 8
    assert in_time_order(made) is made
    time = made.column("time")
    assert (time.min() >= 5_000, time.max() < 20_000) == (True, True)
    # The eighth coincident pulse defines 10,000 ns; a partner cut away makes a pulse auxiliary.
    rows = np.flatnonzero(~made.per_point["auxiliary"])
    eighth = rows[np.searchsorted(made.event[rows], np.arange(len(made))) + 7]
    assert np.median(time[eighth]) == 10_000


def test_charges_are_of_about_one_photoelectron_or_many(made):
    charge = made.column("charge")
    assert charge.min() >= 0.025
    assert 0.9 < np.median(charge) < 1.4
    assert charge.max() > 50
    alone = charge[made.per_point["auxiliary"]]
    assert np.mean(np.abs(alone - 1) < 0.9) > 0.9


def test_events_look_like_a_telescopes(made):
    assert 100 < made.sizes.mean() < 200
    assert 0.2 < made.per_point["auxiliary"].mean() < 0.5
    assert 0.4 < made.per_event["is_track"].mean() < 0.7
    _, rejected = select_pulses(made, 127)
    assert 0.1 < rejected["shortened"] / len(made) < 0.5


def test_timing_carries_the_direction_of_tracks(made):
    truth = -unit_vectors(made.per_event["azimuth"], made.per_event["zenith"])
    error = opening_angles(line_fit(made, positions_m()), truth)
    bright = made.per_event["is_track"] & (made.per_event["energy"] > 1e3)
    assert np.median(error[bright]) < 0.1
    assert np.median(error[made.per_event["is_track"]]) < 0.2


def test_delays_grow_with_distance():
    track = source(is_track=False, position=(0, 0, 0), direction=(0, 0, 1), energy_gev=1e6)
    light = shine(track, np.array([[0.0, 0, 20], [0, 0, 100]]))
    rng = np.random.default_rng(2)
    parts = [_signal(light, rng) for _ in range(200)]
    sensor, time = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    late = [time[sensor == each].mean() - light.direct_ns[each] for each in range(2)]
    assert late[1] - late[0] > 3 * (late[0] - 8_000)


def test_the_same_seed_gives_the_same_events(made):
    same(make(600, seed=3, source="made"), made)
    assert not np.array_equal(make(50, seed=4, source="made").points[:100], made.points[:100])


def test_a_task_becomes_a_release_that_is_read(tmp_path):
    folder, asked = task(tmp_path)
    steps = ("--part 2", "--part 0", "--part 1", "--finish", "--finish")
    assert simulate(folder, *steps) == [0] * 5
    names = {path for path in contents(asked.output) if "/." not in path}
    assert names == {
        "train/batch_0.parquet", "train/batch_1.parquet", "test/batch_0.parquet",
        "train_meta.parquet", "test_meta.parquet", "sensor_geometry.csv",
    }  # fmt: skip
    meta = pq.read_table(asked.output / "train_meta.parquet").to_pydict()
    assert meta["batch_id"] == [0] * 20 + [1] * 20
    first = [(part_seed(asked.seed, n) << NUMBER_BITS) + 1 for n in range(2)]
    assert meta["event_id"] == [number + n for number in first for n in range(20)]
    for number in range(2):
        (found,) = read(asked.output / "train" / f"batch_{number}.parquet", "icecube")
        assert len(found) == 20
        assert {"azimuth", "zenith", "total_charge"} <= set(found.per_event)


def test_files_do_not_depend_on_the_order_they_are_made_in(tmp_path):
    found = []
    for name, steps in {"a": ("0", "1", "2"), "b": ("2", "0", "1")}.items():
        folder, asked = task(tmp_path / name, events_per_file=5)
        simulate(folder, *(f"--part {step}" for step in steps), "--finish")
        found.append(contents(asked.output))
    assert found[0] == found[1]
    assert found[0]["train/batch_0.parquet"] != found[0]["train/batch_1.parquet"]


def test_what_is_read_is_what_was_made(tmp_path):
    _, asked = task(tmp_path, files={"train": 1})
    made = SIMULATOR.write(asked.files[0][1], asked.simulation, 0, 5)
    SIMULATOR.finish((asked.files[0][1],))
    (found,) = read(asked.files[0][1], "icecube")
    expected = make(20, seed=5, source="made", first_id=(5 << NUMBER_BITS) + 1)
    del expected.per_event["energy"], expected.per_event["is_track"]
    same(found, expected)
    assert made.points == len(expected.points)
    assert made.counts["auxiliary"] == np.count_nonzero(expected.per_point["auxiliary"])


def test_without_labels_there_are_no_directions(tmp_path):
    folder, asked = task(tmp_path, files={"train": 1}, labelled=False)
    assert simulate(folder, "--part 0", "--finish") == [0, 0]
    (found,) = read(asked.files[0][1], "icecube")
    assert not {"azimuth", "zenith"} & set(found.per_event)


def test_batches_are_staged_with_their_selection(tmp_path):
    folder, asked = task(tmp_path, files={"train": 1})
    simulate(folder, "--part 0", "--finish")
    path = asked.files[0][1]
    where, staged = stage_task(
        tmp_path, {"train": (path,)}, experiment="icecube", neighbours=0, events_per_shard=8
    )
    steps = ("--begin", "--part 0", "--finish")
    assert [run(STAGE, [str(where.path), *step.split()]) for step in steps] == [0, 0, 0]
    store = Store.open(staged.store)
    shards = [shard.read() for shard in store.shards("train")]
    (whole,) = read(path, "icecube")
    expected, rejected = select_pulses(whole, 127)
    assert len(shards) == 3
    for name, values in {
        "points": expected.points,
        **expected.per_point,
        **expected.per_event,
    }.items():
        found = np.concatenate([shard[name] for shard in shards])
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype
    assert rejected["shortened"] > 0
    assert store.manifest.rejected == rejected
    assert {each.path.rpartition("/")[2] for each in store.manifest.sources} == {
        "batch_0.parquet", "train_meta.parquet", "sensor_geometry.csv",
    }  # fmt: skip
