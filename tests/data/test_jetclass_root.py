import contextlib

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import stage_task
from made_jets import HEADER, branches, expected, write_jetclass
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments import experiment
from pipeline.data.experiments.jetclass import JETCLASS
from pipeline.data.program import run
from pipeline.data.readers import opened, root_branches
from pipeline.data.stage import STAGE
from pipeline.data.store import Store

SIZES = [5, 1, 0, 7, 3, 2, 0, 4, 6, 1, 9]


def read_all(path, step=4096, start=0):
    with opened(path, JETCLASS) as entries:
        some = [
            entries.read(first, min(first + step, entries.count))
            for first in range(start, entries.count, step)
        ]
    rejected = {}
    for _, bad in some:
        rejected = {name: rejected.get(name, 0) + count for name, count in bad.items()}
    return concatenate([events for events, _ in some]), rejected


def unchanged(flat, jets):
    """Leave the branches as they are."""


@pytest.fixture
def made(tmp_path):
    """Return a function that writes jets, changed first, and gives the path."""

    def make(change=unchanged, **layout):
        flat, jets = branches(SIZES)
        change(flat, jets)
        return write_jetclass(tmp_path / "HToBB_000.root", SIZES, flat, jets, **layout)

    return make


@pytest.fixture
def as_in_release(monkeypatch):
    """Let the reader take files of `as_vectors` as ROOT itself would describe them."""

    def interpretation(branch):
        if not branch.name.startswith("part_"):
            return branch.interpretation
        kind = ">i4" if branch.name.startswith("part_is") else ">f4"
        return AsJagged(AsDtype(kind), header_bytes=HEADER)

    monkeypatch.setattr(root_branches, "interpretation", interpretation)


def check(events, sizes, flat, jets, first=0):
    points, charge, species = expected(flat)
    skip = int(np.sum(sizes[:first]))
    np.testing.assert_array_equal(events.points, points[skip:])
    assert events.points.dtype == np.float32
    np.testing.assert_array_equal(events.sizes, sizes[first:])
    np.testing.assert_array_equal(events.event_id, np.arange(first, len(sizes)))
    for name, values in {"charge": charge, "species": species}.items():
        np.testing.assert_array_equal(events.per_point[name], values[skip:], strict=True)
    of_jet = {
        "label": (np.arange(len(sizes)) % 10).astype(np.int8),
        "jet": np.column_stack([jets[f"jet_{name}"] for name in ("pt", "eta", "phi", "energy")]),
        "jet_sdmass": jets["jet_sdmass"],
        "jet_tau": np.column_stack([jets[f"jet_tau{number}"] for number in range(1, 5)]),
    }
    assert set(events.per_event) == set(of_jet)
    for name, values in of_jet.items():
        np.testing.assert_array_equal(events.per_event[name], values[first:], strict=True)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=25),
    basket=st.integers(1, 30),
    step=st.integers(1, 30),
    seed=st.integers(0, 99),
    begin=st.floats(0, 1, exclude_max=True),
)
def test_what_goes_in_comes_out_however_it_is_cut(tmp_path, sizes, basket, step, seed, begin):
    flat, jets = branches(sizes, seed=seed)
    path = write_jetclass(tmp_path / "cut.root", sizes, flat, jets, basket=basket)
    first = int(begin * len(sizes))
    events, rejected = read_all(path, step, first)
    check(events, sizes, flat, jets, first)
    assert not any(rejected.values())


@pytest.mark.parametrize("basket", [3, 100])
def test_vectors_of_the_release_are_read(made, as_in_release, basket):
    events, _ = read_all(made(basket=basket, as_vectors=True), step=4)
    check(events, SIZES, *branches(SIZES))


def test_each_basket_is_decoded_once(made, monkeypatch):
    decoded = []
    whole = root_branches.Branch._decoded
    monkeypatch.setattr(
        root_branches.Branch,
        "_decoded",
        lambda branch, number: decoded.append((branch.name, number)) or whole(branch, number),
    )
    read_all(made(basket=4), step=2)
    assert len(decoded) == len(set(decoded))
    assert {number for _, number in decoded} == {0, 1, 2}


def test_jets_that_cannot_be_used_are_counted(made):
    def spoil(flat, jets):
        jets["label_Hbb"][0] = True  # beside QCD
        jets["label_Hcc"][2] = False
        jets["jet_nparticles"][[2, 4]] = 99  # jet 2 has an earlier fault
        jets["jet_tau3"][5] = np.nan

    events, rejected = read_all(made(spoil))
    assert rejected == {"no_single_label": 2, "wrong_particle_count": 1, "jet_not_finite": 1}
    assert events.event_id.tolist() == [1, 3, 6, 7, 8, 9, 10]
    assert events.sizes.tolist() == [SIZES[index] for index in events.event_id]


def test_jets_of_no_known_class_have_no_label(made):
    def of_data(flat, jets):
        for name in [each for each in jets if each.startswith("label_")]:
            del jets[name]

    labelled, _ = read_all(made())
    found, rejected = read_all(made(of_data))
    assert found.per_event.keys() == labelled.per_event.keys() - {"label"}
    assert np.array_equal(found.points, labelled.points)
    assert rejected == {"wrong_particle_count": 0, "jet_not_finite": 0}


def test_the_truth_never_reaches_the_store(tmp_path, made):
    path = made(lambda _, jets: jets.update(aux_genpart_pid=np.full(len(SIZES), 25.0)))
    with uproot.open(path) as file:
        assert "aux_genpart_pid" in file["tree"]
    folder, task = stage_task(
        tmp_path, {"train": (path,)}, experiment="jetclass", neighbours=0, events_per_shard=6
    )
    steps = ("--begin", "--part=0", "--finish")
    assert [run(STAGE, [str(folder.path), step]) for step in steps] == [0, 0, 0]
    store = Store.open(task.store)
    shards = [each.read() for each in store.shards("train")]
    points, charge, species = expected(branches(SIZES)[0])
    for name, values in {"points": points, "charge": charge, "species": species}.items():
        found = np.concatenate([each[name] for each in shards])
        np.testing.assert_array_equal(found, values, strict=True)
    arrays = {"points", "offsets", "event_id", "charge", "species"}
    arrays |= {"label", "jet", "jet_sdmass", "jet_tau"}
    assert {name for each in shards for name in each} == arrays
    labels = np.concatenate([each["label"] for each in shards])
    assert labels.tolist() == [place % 10 for place, size in enumerate(SIZES) if size]


def test_a_long_jet_keeps_its_hardest_particles_in_the_order_of_the_file(made):
    def momenta(flat, jets):
        flat["part_px"][:] = 0
        flat["part_py"][:5] = [3, 9, -9, 1, 9]

    events, _ = read_all(made(momenta))
    kept, rejected = JETCLASS.limit(events, 4)
    assert rejected == {"shortened": 4}
    assert kept.sizes.tolist() == [min(size, 4) for size in SIZES]
    shorter, _ = JETCLASS.limit(events, 2)
    assert shorter.column("py")[:2].tolist() == [9, -9]
    assert shorter.per_point["charge"][:2].tolist() == events.per_point["charge"][1:3].tolist()
    assert JETCLASS.limit(events, 9) == (events, {"shortened": 0})


def without(name):
    return lambda flat, jets: (flat if name in flat else jets).pop(name)


def put(name, value, kind=None):
    def change(flat, jets):
        table = flat if name in flat else jets
        values = table[name].astype(kind or table[name].dtype)
        values[1] = value
        table[name] = values

    return change


BAD = {
    "a missing branch": (without("part_dzerr"), "has no branch part_dzerr. Expected a file of Jet"),
    "a missing label": (without("label_Tbl"), "has no branch label_Tbl"),
    "a charge of a third": (put("part_charge", 1 / 3), "part_charge holds values that are no char"),
    "a flag of two": (put("part_isMuon", 2), "part_isMuon holds other values than 0 and 1"),
    "NaN": (put("part_px", np.nan), "hold NaN or infinity"),
    "a charge of NaN": (put("part_charge", np.nan), "part_charge holds values that are no charge"),
    "negative energy": (put("part_energy", -1), "have negative energy"),
    "doubles": (
        put("part_px", 1, np.float64),
        "branch part_px has type double[]; expected vector<float>",
    ),
    "whole momenta": (
        put("part_py", 1, np.int32),
        "branch part_py has type int32_t[]; expected vector<float>",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_told(made, change, message):
    path = made(change)
    with pytest.raises(BadInput, match=r"HToBB_000\.root: ") as told:
        read_all(path)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def other_lengths(flat, jets):
    jets["part_energy"] = ak.unflatten(flat.pop("part_energy"), SIZES[::-1])


def flat_charges(flat, jets):
    del flat["part_charge"]
    jets["part_charge"] = np.zeros(len(SIZES), np.float32)


def ragged_labels(_, jets):
    jets["label_Hgg"] = ak.unflatten(np.zeros(sum(SIZES), np.int32), SIZES)


def triple_momenta(_, jets):
    jets["jet_pt"] = np.ones((len(SIZES), 3), np.float32)


SHAPES = {
    "particles of other jets": (
        other_lengths,
        "branches part_px and part_energy of tree 'tree' differ in length in entries 0 to 11",
    ),
    "one charge a jet": (flat_charges, "part_charge has type float; expected an array of numbers"),
    "labels of particles": (ragged_labels, "label_Hgg has type int32_t[]; expected one number an"),
    "three numbers a jet": (triple_momenta, "jet_pt has type float[3]; expected one number an ent"),
}


@pytest.mark.parametrize(("change", "message"), SHAPES.values(), ids=SHAPES)
def test_a_branch_of_another_shape_is_told(made, change, message):
    with pytest.raises(BadInput) as told:
        read_all(made(change))
    assert message in str(told.value)


@pytest.mark.parametrize("fault", ["short", "odd", "falling"])
def test_a_basket_that_does_not_hold_its_entries_is_told(made, fault):
    offsets = {"short": [0, 4, 8], "odd": [0, 3, 8, 12], "falling": [0, 8, 4, 12]}[fault]

    class Basket:
        data = np.zeros(12, np.uint8)
        byte_offsets = np.array(offsets)

    with uproot.open(made(basket=3)) as file:
        branch = root_branches.Branch("jets.root", file["tree"]["part_px"], ragged=True)
        branch._branch = type("Damaged", (), {"basket": lambda *_: Basket})()
        with pytest.raises(
            BadInput, match=r"jets\.root: basket 0 of branch part_px does not hold the 3"
        ):
            list(branch.parts(0, 3))


@pytest.mark.parametrize(
    ("name", "told"), [("Events", r"Events \(TTree\)"), ("tree", r"tree \(TH1D\)")]
)
def test_another_tree_is_told(tmp_path, name, told):
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        if name == "tree":
            file[name] = np.histogram([1.0, 2.0])
        else:
            file.mktree(name, {"x": np.int64}).extend({"x": np.arange(3)})
    with pytest.raises(BadInput, match=f"no TTree 'tree', only {told}. Expected a file of JetC"):
        read_all(path)


def test_an_rntuple_is_read_as_a_tree_is(tmp_path, made):
    tree = made()
    flat, jets = branches(SIZES)
    ntuple = tmp_path / "ntuple.root"
    with uproot.recreate(ntuple) as file:
        file.mkrntuple("tree", {n: ak.unflatten(v, SIZES) for n, v in flat.items()} | jets)
    for step in (1, 4, 100):
        (wanted, _), (found, _) = read_all(tree, step), read_all(ntuple, step)
        np.testing.assert_array_equal(found.points, wanted.points, strict=True)
        for name, values in {**wanted.per_point, **wanted.per_event}.items():
            there = {**found.per_point, **found.per_event}[name]
            np.testing.assert_array_equal(there, values, strict=True)


def test_a_field_of_another_type_is_told(tmp_path):
    flat, jets = branches(SIZES)
    path = tmp_path / "ntuple.root"
    columns = {n: ak.unflatten(v, SIZES) for n, v in flat.items()} | jets
    with uproot.recreate(path) as file:
        file.mkrntuple("tree", columns | {"part_px": np.zeros(len(SIZES), np.float32)})
    with pytest.raises(BadInput, match="branch part_px has type float; expected an array of numb"):
        read_all(path)


def test_a_tree_without_jets_is_told(tmp_path):
    flat, jets = branches([1])
    path = tmp_path / "empty.root"
    with uproot.recreate(path) as file:
        file.mktree(
            "tree",
            {
                **{name: f"var * {each.dtype}" for name, each in flat.items()},
                **{name: each.dtype for name, each in jets.items()},
            },
        )
    with pytest.raises(BadInput, match="holds no events"):
        read_all(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_told(made, share):
    path = made(basket=3)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"Fetch or make it again|no TTree"):
        read_all(path)


def test_damage_is_told_or_changes_nothing_but_numbers(made):
    path = made(basket=3)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(content), 40):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(BadInput):  # anything else would end the test
            assert len(read_all(path)[0]) <= len(SIZES)


def test_experiments_of_jets_are_registered():
    assert experiment("jetclass").max_points == 256
    assert experiment("jetclass2").readers.keys() == {".parquet"}
    assert set(experiment("omnilearned").readers) == {".h5", ".hdf5", ".npz"}
