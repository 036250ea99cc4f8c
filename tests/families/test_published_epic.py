"""EPiC-FM is the authors' own: its wiring, its loss, its sampler, and how its weights begin."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.families.epic import module as network
from pipeline.families.epic import objective
from pipeline.families.epic import published as names
from pipeline.families.epic.spec import EPiC
from pipeline.nn import published
from pipeline.training.programs import convert
from tests.golden import epic
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
FOLDERS = ["epic_fm", "epic_fm_condition", "epic_fm_frequencies16"]


def rows(folder):
    """Return how each array of a case compares, by name."""
    return {row.name: row for row in epic.held(Case(FOLDER / folder))}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_array_is_the_authors(folder):
    found = rows(folder)
    assert found.keys() >= {"out_time_features", "out_velocity", "out_loss", "out_sample"}
    assert found.keys() >= {"grad_norms", "out_layer0_event", "out_layer1_points"}
    assert [row for row in found.values() if not row.passed] == []


def conditions_first(self, *parts):
    """The conditions stand before the input, the time behind it."""
    return torch.cat([self.conditions, *parts, self.time], -1)


def residual_behind(self, known, *parts, residual=None):
    """The residual is added behind the activation."""
    x = functional.leaky_relu(self.linear(known.around(*parts)))
    return x if residual is None else x + residual


def sum_first(points, batch, found=network.pooled):
    """The sum before the mean, in the layers too."""
    return tuple(reversed(found(points, batch)))


def times_reversed(time, width):
    """The features of the time in falling order of frequency."""
    return network.cosines(time, width).flip(1)


CHANGES = {
    "activation": (functional, "leaky_relu", functional.relu),
    "slope": (functional, "leaky_relu", lambda x, slope=0.2: torch.where(x > 0, x, slope * x)),
    "residual": (network.Step, "forward", residual_behind),
    "sum and mean": (network, "pooled", sum_first),
    "scale of the sum": (network, "SUM_SCALE", 1.0),
    "order of the context": (network.Context, "around", conditions_first),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_function_shows(monkeypatch, change):
    monkeypatch.setattr(*CHANGES[change])
    assert not rows("epic_fm_condition")["out_velocity"].passed


def test_another_time_shows(monkeypatch):
    monkeypatch.setitem(network.TIMES, "cosine", times_reversed)
    assert not rows("epic_fm")["out_time_features"].passed


def test_the_loss_per_event_is_another(monkeypatch):
    def per_event(output, batch):
        return {"flow": objective.flow_per_event(output, batch)["flow_per_event"]}

    monkeypatch.setattr(epic, "flow", per_event)
    assert not rows("epic_fm")["out_loss"].passed


def test_noise_left_at_time_0_is_part_of_the_loss(monkeypatch):
    model = epic.model_of(Case(FOLDER / "epic_fm"))
    other = model.model_copy(update={"sigma": 0.01})
    monkeypatch.setattr(epic, "model_of", lambda _: other)
    assert not rows("epic_fm")["out_loss"].passed


def test_times_of_the_sampler_count_in_single_precision(monkeypatch):
    def in_double(velocity, start, times, steps):
        z = start
        for number in range(steps):
            time = 1 - number / steps
            half = z - 0.5 / steps * velocity(z, time * times)
            z = z - velocity(half, (time - 0.5 / steps) * times) / steps
        return z

    monkeypatch.setattr(epic, "midpoint", in_double)
    assert not rows("epic_fm_frequencies16")["out_sample"].passed


def test_weights_go_in_and_out_bit_for_bit():
    case = Case(FOLDER / "epic_fm_condition")
    model, state = epic.model_of(case), epic.module_of(case).state_dict()
    back = published.exported(state, names.entries(model), prefix=names.PREFIX)
    there = names.weights_of(case.weights)
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], there[name]) for name in there)


def test_weights_are_imported_with_a_declaration(tmp_path):
    case = Case(FOLDER / "epic_fm_frequencies16")
    declaration = tmp_path / "model.toml"
    declaration.write_text(
        '[model]\nfamily = "epic-fm"\nwidth = 24\nglobal_width = 10\nlayers = 2\nconditions = []\n'
    )
    file, folder = case.path / "weights.safetensors", tmp_path / "ours"
    convert.import_weights("epic-fm", file, folder, model_file=declaration)
    convert.export_weights(folder, tmp_path / "back.safetensors")
    back = published.read(tmp_path / "back.safetensors")
    there = names.weights_of(case.weights)
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], there[name]) for name in there)


def test_every_initial_weight_has_the_law_of_the_authors():
    """Rows of torch's linear layers, whose lengths are their own: init/epic-fm.json."""
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        modules.append(network.build(EPiC(size="jetnet"), None))
    layers = [name for name, each in modules[0].named_modules() if isinstance(each, nn.Linear)]
    assert len(layers) == 2 + 2 + 6 * 4 + 1
    for name in layers:
        linear = [module.get_submodule(name) for module in modules]
        inputs = linear[0].in_features
        spread = (3 * inputs) ** -0.5
        rows_of = [each.parametrizations.weight.original1.detach() for each in linear]
        for values in (rows_of, [each.bias.detach() for each in linear]):
            drawn = np.concatenate([each.numpy().ravel() for each in values])
            error = 4.5 * spread / drawn.size**0.5
            assert abs(drawn.mean()) <= error, name
            assert drawn.std() == pytest.approx(spread, abs=error), name
        for each, directions in zip(linear, rows_of, strict=True):
            lengths = each.parametrizations.weight.original0.detach()
            torch.testing.assert_close(lengths, directions.norm(dim=1, keepdim=True))
