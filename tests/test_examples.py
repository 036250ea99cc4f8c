"""What examples of other disciplines simulate is what they say, and their campaigns can be read."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.campaign import load_campaign
from pipeline.data import custom_code
from pipeline.data.experiments import experiment
from pipeline.run import Run

EXAMPLES = Path("examples")
KINDS = {"haloes": "HALOES", "molecules": "MOLECULES"}


@pytest.fixture(params=KINDS)
def example(request, tmp_path):
    """Its name, its module's parts by name, and files of a few events."""
    file = EXAMPLES / request.param / f"{request.param}.py"

    def part(name):
        return custom_code.load(file, name)

    part("write")(tmp_path / "files", 40, 1)
    return request.param, part, tmp_path / "files"


def test_files_are_read_back_and_a_seed_makes_the_same(example, tmp_path):
    name, part, files = example
    opener = experiment(f"{EXAMPLES}/{name}/{name}.py:{KINDS[name]}").opener(".npz")
    with opener(files / "train.npz") as entries:
        events, _ = entries.read(0, entries.count)
    assert (entries.count, len(events.sizes)) == (30, 30)
    part("write")(tmp_path / "again", 40, 1)
    part("write")(tmp_path / "other", 40, 2)
    for folder, same in (("again", True), ("other", False)):
        points = np.load(tmp_path / folder / "train.npz")["points"]
        assert np.array_equal(points, events.points) == same


def test_what_is_told_of_two_points_is_finite_and_the_same_both_ways(example):
    torch = pytest.importorskip("torch")
    _, part, files = example
    columns = part("COLUMNS")
    points = np.load(files / "train.npz")["points"][:50]
    normal = (points - [c.offset for c in columns]) / [c.scale for c in columns]
    a = torch.from_numpy(normal).float()
    told = part("pairs")(a[:, None], a[None, :])
    assert told.shape == (len(a), len(a), 3)
    assert bool(told.isfinite().all())
    torch.testing.assert_close(told, told.transpose(0, 1))


def test_the_campaign_fine_tunes_a_jet_backbone_on_it(example, tmp_path, monkeypatch):
    name, _, files = example
    text = (EXAMPLES / name / "campaign.toml").read_text()
    path = tmp_path / "campaign.toml"
    path.write_text(text.replace(f"examples/{name}/files", str(files)))
    tasks = {task.key: task for task in load_campaign(str(path)).tasks(Run(tmp_path, name))}
    (jets,) = (task for key, task in tasks.items() if key.startswith("pretrain/"))
    tuned = [task for key, task in tasks.items() if key.startswith("finetune/")]
    asked = {(task.mode, task.labels) for task in tuned}
    assert asked == {(mode, labels) for mode in ("full", "scratch") for labels in (100, 900)}
    for task in tuned:
        assert task.model.architecture == jets.model.architecture
        assert task.model.columns != jets.model.columns
        assert task.model.interaction.function.endswith(f"{name}.py:pairs")


def test_molecules_are_isomers_with_their_bonds():
    molecule = custom_code.load(EXAMPLES / "molecules/molecules.py", "molecule")
    rng = np.random.default_rng(0)
    for label in [0, 1] * 20:
        *xyz, charge = molecule(rng, label).T
        carbon, hydrogen, oxygen = ((charge == z).sum() for z in (6, 1, 8))
        assert (hydrogen, oxygen) == (2 * carbon + 2, 1)
        apart = np.linalg.norm(np.stack(xyz, 1)[:, None] - np.stack(xyz, 1), axis=-1)
        bonded = np.sort(charge[apart[charge == 8][0].argsort()[1:3]])
        assert bonded.tolist() == ([6, 6] if label else [1, 6])


def test_haloes_are_as_many_as_the_mass_function_has_and_more_where_sigma8_is_high():
    file = EXAMPLES / "haloes/haloes.py"
    box, above = custom_code.load(file, "box"), custom_code.load(file, "mass_function")
    rng = np.random.default_rng(0)
    counts = [[len(box(rng, 0.3, sigma8)) for _ in range(20)] for sigma8 in (0.7, 0.9)]
    expected = [above(0.3, sigma8)[0] for sigma8 in (0.7, 0.9)]
    assert np.mean(counts, 1) == pytest.approx(expected, rel=0.1)
    assert expected[1] > 1.3 * expected[0]


def test_the_field_has_the_deviation_sigma8_in_spheres_of_8_mpc():
    """Nearly: waves longer than the box are missing."""
    field = custom_code.load(EXAMPLES / "haloes/haloes.py", "field")
    rng = np.random.default_rng(0)
    along = 2 * np.pi * np.fft.fftfreq(24, 100 / 24)
    x = 8 * np.sqrt(sum(np.square(np.meshgrid(along, along, along, indexing="ij"))))
    x[0, 0, 0] = 1e-6
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    smooth = [np.fft.ifftn(np.fft.fftn(field(rng, 0.3, 0.8)) * window).real for _ in range(30)]
    assert np.std(smooth) == pytest.approx(0.8, rel=0.1)
