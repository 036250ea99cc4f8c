import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import stage_task

from pipeline.data.errors import BadInput
from pipeline.data.experiments.trackml import TRACKML, companions
from pipeline.data.preparation.serialise import normal
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.stage import STAGE
from pipeline.data.store import Store

FAR_ID = 63_055_067_707_604_991  # above 2^53 and odd, so that no float64 is equal to it
HITS = """hit_id,x,y,z,volume_id,layer_id,module_id
1,-64.40989685058594,-7.16370010375976,-1502.5,7,2,1
2,nan,10,20,8,2,3
3,55.5,-2,3,8,4,3192
"""
TRUTH = f"""hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight
3,{FAR_ID},0,0,0,0.3,0.4,1,0.00025
1,0,-64,-7,-1502,-1000000,-1000000,1e6,0
2,5,0,0,0,1,1,1,0.125
"""
PARTICLES = f"""particle_id,vx,vy,vz,px,py,pz,q,nhits
5,0,0,0,1,1,1,1,9
{FAR_ID},0,0,0,3,4,1,-1,7
"""


def event(folder, hits=HITS, truth=TRUTH, particles=PARTICLES, name="event000001000"):
    """Write the files of one event, those that are not None; return that of the hits."""
    contents = {"hits": hits, "truth": truth, "particles": particles, "cells": "hit_id,ch0\n1,2\n"}
    for kind, content in contents.items():
        if content is not None:
            (folder / f"{name}-{kind}.csv").write_text(content)
    return folder / f"{name}-hits.csv"


def read(path):
    with opened(path, TRACKML) as entries:
        assert entries.count == 1
        return entries.read(0, 1)


def test_hits_bring_their_truth_along_and_lose_those_without_place(tmp_path):
    found, rejected = read(event(tmp_path))
    assert rejected == {"nan_coordinates": 1}
    assert found.columns == ("x", "y", "z")
    expected = [[-64.40989685058594, -7.16370010375976, -1502.5], [55.5, -2, 3]]
    np.testing.assert_array_equal(found.points, np.array(expected, np.float32))
    labels = {name: values.tolist() for name, values in found.per_point.items()}
    assert labels == {
        "volume_id": [7, 8],
        "layer_id": [2, 4],
        "module_id": [1, 3192],
        "track_id": [0, FAR_ID],
        "weight": [0, np.float32(0.00025)],
        "pt_gev": [0, 5],
        "noise": [True, False],
    }
    assert {name: values.dtype.name for name, values in found.per_point.items()} == {
        **dict.fromkeys(("volume_id", "layer_id", "module_id"), "int16"),
        "track_id": "int64",
        "weight": "float32",
        "pt_gev": "float32",
        "noise": "bool",
    }


def test_without_particles_the_momentum_is_that_at_the_hit(tmp_path):
    found, _ = read(event(tmp_path, particles=None))
    np.testing.assert_allclose(found.per_point["pt_gev"], [0, 0.5])


def test_without_truth_there_are_no_labels(tmp_path):
    found, _ = read(event(tmp_path, truth=None))
    assert list(found.per_point) == ["volume_id", "layer_id", "module_id"]


def test_truth_may_come_without_weights(tmp_path):
    truth = "\n".join(line.rpartition(",")[0] for line in TRUTH.splitlines()) + "\n"
    found, _ = read(event(tmp_path, truth=truth))
    assert "weight" not in found.per_point
    assert found.per_point["track_id"].tolist() == [0, FAR_ID]


def test_the_files_of_a_set_are_known():
    assert companions("raw/event000001000-hits.csv") == (
        "event000001000-truth.csv",
        "event000001000-particles.csv",
    )


def test_an_event_without_hits_is_kept(tmp_path):
    hits, truth = (text.partition("\n")[0] + "\n" for text in (HITS, TRUTH))
    found, rejected = read(event(tmp_path, hits=hits, truth=truth))
    assert found.sizes.tolist() == [0]
    assert rejected == {"nan_coordinates": 0}


def rows(*columns):
    return "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


@settings(deadline=None, max_examples=25)
@given(
    ids=st.lists(st.sampled_from([0, FAR_ID]) | st.integers(1, 2**63 - 1), max_size=20),
    seed=st.integers(0, 99),
)
def test_an_event_survives_the_round_trip(tmp_path_factory, ids, seed):
    rng = np.random.default_rng(seed)
    count = len(ids)
    position = rng.uniform(30, 1000, (3, count)).astype(np.float32)
    module = rng.integers(0, 3193, (3, count))
    weight, px, py = rng.random((3, count)).astype(np.float32)
    hit_id = np.arange(1, count + 1)
    order = rng.permutation(count)
    zero = np.zeros(count, int)
    truth = (hit_id, ids, zero, zero, zero, px, py, zero, weight)
    path = event(
        tmp_path_factory.mktemp("trackml"),
        HITS.partition("\n")[0] + "\n" + rows(hit_id, *position, *module),
        TRUTH.partition("\n")[0] + "\n" + rows(*(np.asarray(each)[order] for each in truth)),
        None,
    )
    found, _ = read(path)
    np.testing.assert_array_equal(found.points, position.T)
    assert found.per_point["track_id"].tolist() == ids
    np.testing.assert_array_equal(found.per_point["module_id"], module[2])
    np.testing.assert_array_equal(found.per_point["weight"], weight)
    expected = np.where(np.array(ids) == 0, 0, np.hypot(px, py))
    np.testing.assert_allclose(found.per_point["pt_gev"], expected, rtol=1e-6)


def test_events_are_staged_with_exact_ids(tmp_path):
    texts = {"event000001000": HITS, "event000001001": HITS.replace("55.5", "55.6")}
    paths = [event(tmp_path, text, name=name) for name, text in texts.items()]
    folder, task = stage_task(
        tmp_path, {"train": paths}, experiment="trackml", order="hilbert", neighbours=1
    )
    for step in ("--begin", "--part 0", "--part 1", "--finish"):
        assert run(STAGE, [str(folder.path), *step.split()]) == 0
    store = Store.open(task.store)
    assert store.manifest.rejected == {"nan_coordinates": 2}
    assert len(store.manifest.sources) == 6
    shards = [each.read() for each in store.shards("train")]
    assert [sorted(each["track_id"].tolist()) for each in shards] == [[0, FAR_ID]] * 2
    assert shards[0]["neighbours"].shape == (2, 1)


def test_the_detector_fills_the_unit_cube(tmp_path):
    far = HITS.replace("-64.40989685058594,-7.16370010375976", "30,3").replace("55.5", "1025.5")
    found = normal(TRACKML.transform(read(event(tmp_path, far))[0]), TRACKML)
    assert found.min() > 0
    assert found.max() < 1


def changed(text, old, new):
    assert old in text
    return text.replace(old, new)


FAR = str(FAR_ID)
LOST = r"truth.csv: an id went through a float, which lost its last digits \(.*{}'\)\. Ids beyond"


@pytest.mark.parametrize("damaged", ["6.305506770760499e+16", "6e16", "5.0"])
def test_ids_that_were_floats_are_refused(tmp_path, damaged):
    path = event(tmp_path, truth=changed(TRUTH, FAR, damaged))
    with pytest.raises(BadInput, match=LOST.format(damaged.replace("+", r"\+"))):
        read(path)


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("truth", FAR, "", r"truth.csv: .*particle_id is empty in 1 rows"),
        ("truth", FAR, str(2**63), r"truth.csv: not a whole csv .*invalid value"),
        ("truth", "0.00025", "", r"truth.csv: .*weight is empty"),
        ("truth", "\n3,", "\n1,", r"truth.csv: 3 truths for the 3 hits .* not one each"),
        ("truth", "\n2,", "\n4,", r"truth.csv: 3 truths for the 3 hits"),
        ("truth", "2,5,0,0,0,1,1,1,0.125\n", "", r"truth.csv: 2 truths for the 3 hits"),
        ("truth", "particle_id", "particle", r"truth.csv: .*'particle_id'.* does not exist"),
        ("hits", "3192", "99999", r"hits.csv: .*int16: invalid value '99999'"),
        ("hits", ",y,", ",w,", r"hits.csv: .*'y'"),
        ("hits", "8,4,3192\n", "8", r"hits.csv: .*Expected 7 columns, got 5"),
        ("hits", "nan", "none", r"hits.csv: .*invalid value 'none'"),
        ("hits", "nan", "inf", r"hits.csv: 1 of 3 points hold NaN or infinity"),
        ("hits", "\n3,", "\n1,", r"truth.csv: 3 truths for the 3 hits"),
        ("particles", FAR, "6.3e16", r"particles.csv: an id went through a float"),
    ],
)
def test_what_is_not_of_the_release_is_refused(tmp_path, kind, old, new, message):
    contents = {"hits": HITS, "truth": TRUTH, "particles": PARTICLES}
    path = event(tmp_path, **{**contents, kind: changed(contents[kind], old, new)})
    with pytest.raises(BadInput, match=message) as failure:
        read(path)
    assert "\n" not in str(failure.value)
