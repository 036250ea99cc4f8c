import fastjet
import numpy as np
import pytest
import uproot
from made_events import simulate_task

from pipeline.campaign import JETCLASS_PROCESSES, Simulation
from pipeline.data.experiments.jetclass import CLASSES, JETCLASS
from pipeline.data.jet_inputs import columns_of
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.simulate import SIMULATE
from pipeline.data.simulation import jetclass, simulator
from pipeline.data.simulation.jet_events import PROCESSES, Truth, Visible
from pipeline.data.simulation.jet_finding import (
    distance,
    find,
    groomed_mass,
    polar,
    subjettiness,
)
from pipeline.families.jet_columns import CHOICES
from pipeline.outcome import Exit
from pipeline.writing import read_json

JETS = 4
LABEL_BRANCHES = {
    "label_QCD": "float",
    **{f"label_{name}": "bool" for name in ("Hbb", "Hcc", "Hgg", "H4q", "Hqql")},
    **{f"label_{name}": "int32_t" for name in ("Zqq", "Wqq", "Tbqq", "Tbl")},
}


def asked(events, files=10):
    return Simulation(
        experiment="jetclass", format="root", files={"train": files}, events_per_file=events
    )


def write(path, number, *, events=JETS, seed=5):
    return simulator("jetclass").write(path, asked(events), number, seed)


def read(path):
    with opened(path, JETCLASS) as entries:
        return entries.read(0, entries.count)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the files of all ten processes."""
    folder = tmp_path_factory.mktemp("jets")
    paths = [folder / asked(JETS).file_name(number) for number in range(10)]
    for number, path in enumerate(paths):
        assert write(path, number).files == (path,)
    return paths


@pytest.fixture(scope="module")
def higgs():
    return jetclass.jets("HToBB", 20, seed=3)


@pytest.mark.parametrize("number", range(10), ids=JETCLASS_PROCESSES)
def test_jets_are_selected_as_jetclass_does(files, number):
    events, rejected = read(files[number])
    assert not any(rejected.values())
    assert files[number].name == f"{JETCLASS_PROCESSES[number]}_00{number}.root"
    assert events.per_event["label"].tolist() == [number] * JETS
    pt, eta, _, _ = events.per_event["jet"].T
    assert ((pt > 500) & (pt < 1000) & (np.abs(eta) < 2)).all()
    assert (events.sizes > 1).all()
    mine = events.per_point["species"]
    assert (mine.sum(axis=1) == 1).all()
    charged = events.per_point["charge"] != 0
    np.testing.assert_array_equal(charged, mine[:, [0, 3, 4]].any(axis=1))


@pytest.mark.parametrize("number", range(10), ids=JETCLASS_PROCESSES)
def test_constituents_sum_to_the_jet(files, number):
    events, _ = read(files[number])
    sums = np.add.reduceat(events.points[:, :4].astype(np.float64), events.offsets[:-1])
    pt, eta, phi, energy = events.per_event["jet"].astype(np.float64).T
    jet = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy])
    assert (np.abs(sums - jet) <= 1e-5 * energy[:, None]).all()


def test_particles_come_by_falling_pt_and_lie_about_the_axis(files):
    for path in files:
        events, _ = read(path)
        pt, eta, phi = polar(events.points[:, :3].astype(np.float64))
        first = np.zeros(len(pt), bool)
        first[events.offsets[:-1]] = True
        assert (first[1:] | (np.diff(pt) <= 1e-4 * pt[1:])).all()
        _, jet_eta, jet_phi, _ = events.per_event["jet"].astype(np.float64)[events.event].T
        mirrored = np.where(jet_eta < 0, -1, 1) * (eta - jet_eta)
        np.testing.assert_allclose(events.column("deta"), mirrored, atol=1e-4)
        turn = np.angle(np.exp(1j * (phi - jet_phi)))
        np.testing.assert_allclose(events.column("dphi"), turn, atol=1e-5)
        # FastJet measures in rapidity: slow heavy particles lie further off in pseudorapidity.
        assert np.mean(np.hypot(mirrored, turn) < 0.8) > 0.95


def test_neutral_particles_have_no_impact_parameters(files):
    events, _ = read(files[1])
    charged = events.per_point["charge"] != 0
    impact = events.points[:, 6:]
    assert not impact[~charged].any()
    assert impact[charged].all()
    d0err, dzerr = jetclass.resolution_mm(np.hypot(*events.points[charged, :2].T))
    np.testing.assert_allclose(events.column("d0err")[charged], d0err, rtol=1e-5)
    np.testing.assert_allclose(events.column("dzerr")[charged], dzerr, rtol=1e-5)


def test_the_branches_are_those_of_the_release_and_the_vertex(files):
    with uproot.open(files[0]) as file:
        tree = file["tree"]
        assert isinstance(tree, uproot.TTree)
        kinds = {name: each.typename for name, each in tree.items()}
    assert kinds.pop("part_vertex") == "int32_t[]"
    assert {name: kind for name, kind in kinds.items() if name in LABEL_BRANCHES} == LABEL_BRANCHES
    assert list(LABEL_BRANCHES) == [f"label_{name}" for name in CLASSES]
    for name, kind in kinds.items():
        if name.startswith("part_is"):
            assert kind == "int32_t[]"
        elif name.startswith("part_"):
            assert kind == "float[]"
        elif name.startswith(("jet_", "aux_")):
            assert kind == "float"
    assert len([name for name in kinds if name.startswith("part_")]) == 16
    assert len([name for name in kinds if name.startswith("jet_")]) == 10


def test_b_jets_of_a_higgs_have_its_mass_and_fly(higgs):
    masses = np.array([jet.groomed_mass for jet in higgs])
    assert 110 < np.median(masses) < 130
    assert all(jet.truth.pdg == 25 and len(jet.truth.products) == 2 for jet in higgs)
    for jet in higgs:
        axis = jet.momentum[None]
        assert distance(jet.truth.products, axis).max() < 0.8
    flown = np.concatenate([np.hypot(*jet.particles.vertex[:, :2].T) for jet in higgs])
    assert np.mean(flown > 0.1) > 0.1  # mm: a B meson flies 0.5 mm and more


def test_particles_of_one_vertex_of_a_jet_share_a_number(higgs):
    particles = Visible(
        np.ones((6, 4)),
        np.array([[0, 0, 0.009], [0, 3, 0], [0, 3, 0.0001], [0, 4, 0], [0, 3, 0], [1, 1, 1]]),
        np.full(6, 211),
        np.ones(6),
    )
    owner = np.array([0, 0, 0, 0, 1, 1])
    assert jetclass.vertices(particles, owner).tolist() == [0, 1, 1, 2, 1, 2]
    vertex = jetclass.particle_branches(higgs, np.random.default_rng(0))["vertex"]
    assert vertex.max() >= 4, "two b quarks: as many B and D mesons fly"
    assert 0.3 < np.mean(vertex == 0) < 0.95


def test_two_prongs_are_seen_in_the_subjettiness(higgs):
    quark_or_gluon = jetclass.jets("ZJetsToNuNu", 20, seed=3)
    ratio = [
        np.median([jet.tau[1] / jet.tau[0] for jet in some]) for some in (higgs, quark_or_gluon)
    ]
    assert ratio[0] < ratio[1]
    assert (np.diff(np.mean([jet.tau for jet in higgs], axis=0)) < 0).all()
    assert all(jet.truth is None for jet in quark_or_gluon)


def test_simulated_jets_make_inputs_of_order_one(files):
    events, _ = read(files[8])
    stored = dict(zip(events.columns, events.points.T, strict=True))
    stored |= {name: events.per_point[name] for name in ("charge", "species")}
    values = columns_of(CHOICES["full"], stored, events.offsets)
    assert np.isfinite(values).all()
    assert np.abs(values.mean(axis=0)).max() < 2
    assert np.abs(values).max() <= 5


def test_the_same_seed_makes_the_same_jets(tmp_path):
    made = [tmp_path / name for name in ("one.root", "two.root", "other.root")]
    for path, seed in zip(made, (1, 1, 2), strict=True):
        write(path, 7, events=2, seed=seed)
    contents = []
    for path in made:
        with uproot.open(path) as file:
            arrays = file["tree"].arrays(library="ak")
        contents.append({name: arrays[name].to_list() for name in arrays.fields})
    assert contents[0] == contents[1]
    assert contents[0]["jet_pt"] != contents[2]["jet_pt"]


def test_files_of_jets_are_made_by_the_program(tmp_path):
    folder, task = simulate_task(
        tmp_path, experiment="jetclass", format="root", files={"train": 2}, events_per_file=1
    )
    steps = ("--part=0", "--part=1", "--finish")
    assert [run(SIMULATE, [str(folder.path), step]) for step in steps] == [Exit.FINISHED] * 3
    names = [path.name for _, path in task.files]
    assert names == ["ZJetsToNuNu_000.root", "HToBB_001.root"]
    assert read_json(folder.result)["events"] == 2


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, higgs):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.writing.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        jetclass.write_root(
            tmp_path / "full.root", higgs[:1], label=1, rng=np.random.default_rng(1)
        )
    assert not list(tmp_path.iterdir())


def test_a_process_that_makes_no_jets_is_told(monkeypatch):
    monkeypatch.setattr(jetclass, "find", lambda *_: None)
    monkeypatch.setattr(jetclass, "MANY_COLLISIONS", 2)
    with pytest.raises(RuntimeError, match=r"HToBB: 2 collisions without a jet"):
        jetclass.jets("HToBB", 1, seed=1)


def test_a_generator_that_gives_up_is_told():
    from pipeline.data.simulation.jet_events import Collider

    collider = Collider.__new__(Collider)
    collider._pythia = type("Dead", (), {"next": lambda _: False})()
    with pytest.raises(RuntimeError, match=r"Pythia failed 10 times in a row"):
        next(collider.collisions())


def four(pt, eta, phi):
    """Return massless momenta (N, 4)."""
    pt, eta, phi = np.broadcast_arrays(pt, eta, phi)
    return np.column_stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    )


def test_soft_drop_takes_away_what_is_soft_and_wide():
    hard = four([300, 280], [0, 0.3], [0, 0])
    mass = np.sqrt(2 * 300 * 280 * (np.cosh(0.3) - 1))
    assert groomed_mass(hard) == pytest.approx(mass, rel=1e-6)
    assert groomed_mass(np.vstack([hard, four(5, -0.6, 0.2)])) == pytest.approx(mass, rel=1e-6)
    assert groomed_mass(four([500, 40], [0, 0.5], [0, 0])) == pytest.approx(0, abs=1e-3)
    assert groomed_mass(four(500, 0.2, 1.0)) == pytest.approx(0, abs=1e-3)


def test_subjettiness_is_the_mean_distance_to_the_nearest_axis():
    particles = four([300, 100], [0, 0.4], [1, 1])
    axis = particles.sum(axis=0)[None]
    near = distance(particles, axis)[:, 0]
    assert subjettiness(particles, 1) == pytest.approx((300 * near[0] + 100 * near[1]) / 400 / 0.8)
    assert subjettiness(particles, 2) == 0
    assert subjettiness(four([300, 100, 50], [0, 0.4, 0.41], [1, 1, 1]), 2) > 0


def jet_of(truths, process, particles):
    count = len(particles)
    visible = Visible(particles, np.zeros((count, 3)), np.full(count, 22), np.zeros(count, np.int8))
    return find(visible, truths, PROCESSES[process])


def test_a_jet_must_hold_all_that_its_resonance_decays_to():
    particles = four([400, 300, 800], [0, 0.3, 0.5], [0.0, 0.0, 3.0])
    products = particles[:2]
    inside = Truth(products.sum(axis=0), products, 25)
    outside = Truth(inside.momentum, np.vstack([products[0], four(300, 1.5, 0)]), 25)
    found = jet_of([inside], "HToBB", particles)
    assert np.hypot(*found.momentum[:2]) == pytest.approx(700, rel=1e-3)
    assert found.truth is inside
    assert jet_of([outside], "HToBB", particles) is None
    assert jet_of([], "HToBB", particles) is None


@pytest.mark.parametrize(("pt", "eta"), [(499, 0), (1001, 0), (700, 2.1), (700, -2.1)])
def test_the_hardest_jet_counts_alone_and_only_within_the_cuts(pt, eta):
    assert jet_of([], "ZJetsToNuNu", four([pt], [eta], [0.5])) is None
    assert jet_of([], "ZJetsToNuNu", four([pt, 510], [eta, 0], [0.5, 3.0])) is None or pt < 510
    assert jet_of([], "ZJetsToNuNu", four([700], [1.9], [0.5])) is not None


def test_processes_are_those_of_the_files_in_the_order_of_the_labels():
    assert tuple(PROCESSES) == JETCLASS_PROCESSES
    assert [process.label for process in PROCESSES.values()] == list(range(len(CLASSES)))
    assert fastjet.JetDefinition.max_allowable_R > 10
