"""Published systems are held to outputs of the authors' own code, on the authors' own weights."""

import pickle
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.data.errors import BadInput
from pipeline.families.particlenet import module as network
from pipeline.families.particlenet import published as names
from pipeline.nn import published
from pipeline.nn.published import Entry
from tests.golden import particlenet
from tests.golden.__main__ import held, main
from tests.golden.cases import Case

CASES = sorted((ROOT / "tests" / "golden" / "published").iterdir())
SMALL = ROOT / "tests" / "golden" / "published" / "particlenet_small"


def rows(case):
    """Return how each array of a case compares, by name."""
    return {row.name: row for row in held(case) or ()}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_outputs_losses_and_gradients_are_those_of_the_authors(folder):
    found = rows(Case(folder))
    assert found
    assert [row for row in found.values() if not row.passed] == []


def test_the_command_prints_a_line_an_array(capsys):
    assert main([str(SMALL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8
    assert all(line.startswith("pass  particlenet_small  ") for line in lines)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda patch: patch(functional, "relu", functional.gelu), id="activation"),
        pytest.param(lambda patch: patch(network.Edges, "filled_up", lambda e, _: e), id="padding"),
        pytest.param(
            lambda patch: patch(network, "ANGLES", ("deltaR", "pt_log"), raising=False),
            id="columns of the first graph",
        ),
        pytest.param(
            lambda patch: patch(network.EdgeConv, "forward", swapped(network.EdgeConv.forward)),
            id="sign of the difference",
        ),
    ],
)
def test_a_change_of_the_function_shows(monkeypatch, change):
    change(monkeypatch.setattr)
    logits = next(particlenet.held(Case(SMALL)))
    assert logits.name == "out_logits"
    assert not logits.passed


def swapped(forward):
    """Return the layer with centre - near for near - centre."""

    def changed(self, x, edges):
        half = self.first.weight.shape[1] // 2
        negated = torch.cat([self.first.weight[:, :half], -self.first.weight[:, half:]], 1)
        with torch.no_grad():
            self.first.weight.copy_(negated)
        made = forward(self, x, edges)
        with torch.no_grad():
            self.first.weight.copy_(torch.cat([negated[:, :half], -negated[:, half:]], 1))
        return made

    return changed


def test_weights_that_ours_holds_end_to_end_are_several_of_theirs():
    entry = Entry("qkv", ("q", "k", "v"))
    theirs = {name: torch.randn(2, 3) for name in "qkv"}
    ours = published.imported(theirs, [entry], {"qkv": torch.Size([6, 3])})
    assert torch.equal(ours["qkv"], torch.cat([theirs[name] for name in "qkv"]))
    back = published.exported(ours, [entry])
    assert all(torch.equal(back[name], theirs[name]) for name in "qkv")
    with pytest.raises(BadInput, match=r"q \+ k \+ v has shape \(6, 3\); this model has \(9, 3\)"):
        published.imported(theirs, [entry], {"qkv": torch.Size([9, 3])})
    del theirs["k"]
    with pytest.raises(BadInput, match=r"no k\. Is this a file of another model"):
        published.imported(theirs, [entry], {"qkv": torch.Size([6, 3])})


def test_axes_of_size_one_before_a_weight_are_theirs():
    entry = Entry("token", "cls", leading=2)
    ours = published.imported({"cls": torch.randn(1, 1, 4)}, [entry], {"token": torch.Size([4])})
    assert published.exported(ours, [entry])["cls"].shape == (1, 1, 4)


@pytest.fixture
def small():
    """The case, our declaration of it, and the shapes of its module."""
    case = Case(SMALL)
    model = particlenet.model_of(case)
    state = network.build(model, None).state_dict()
    return case, model, {name: each.shape for name, each in state.items()}


def test_weights_go_in_and_out_bit_for_bit(small):
    case, model, shapes = small
    ours = published.imported(case.weights, names.entries(model), shapes)
    back = published.exported(ours, names.entries(model))
    there = {n: w for n, w in case.weights.items() if not n.endswith(published.COUNTERS)}
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], there[name]) for name in there)
    assert ours.keys() == shapes.keys()


def test_a_prefix_is_the_file_s(small):
    case, model, shapes = small
    prefixed = {names.PREFIX + name: weight for name, weight in case.weights.items()}
    ours = published.imported(prefixed, names.entries(model), shapes, prefix=names.PREFIX)
    back = published.exported(ours, names.entries(model), prefix=names.PREFIX)
    assert back.keys() <= prefixed.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("fc.1.bias"), "f: no fc.1.bias. Is this a file of another model or size?"),
        (lambda w: w.update({"fc.2.bias": torch.zeros(3)}), "fc.2.bias and 0 more are of no layer"),
        (
            lambda w: w.update({"fc.1.bias": torch.zeros(3)}),
            r"f: fc.1.bias has shape \(3,\); this model has \(10,\). Name the size",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(small, change, message):
    case, model, shapes = small
    weights = dict(case.weights)
    change(weights)
    with pytest.raises(BadInput, match=message):
        published.imported(weights, names.entries(model), shapes, source="f")


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_files_are_read_without_running_anything(tmp_path, small, capsys):
    weights = small[0].weights
    whole = {"state_dict": weights, "epoch": 3}
    torch.save(whole, tmp_path / "lightning.ckpt")
    assert published.read(tmp_path / "lightning.ckpt").keys() == weights.keys()
    save_file(weights, tmp_path / "w.safetensors")
    assert published.read(tmp_path / "w.safetensors").keys() == weights.keys()
    (tmp_path / "harm.pt").write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
    torch.save({"w": Harmful()}, tmp_path / "harm2.pt")
    for name in ("harm.pt", "harm2.pt"):
        with pytest.raises(BadInput, match=f"{name}: "):
            published.read(tmp_path / name)
    assert "unpickled" not in capsys.readouterr().out


def test_files_that_are_no_weights_are_refused(tmp_path, small):
    torch.save(small[0].weights, tmp_path / "torn.pt")
    content = (tmp_path / "torn.pt").read_bytes()
    (tmp_path / "torn.pt").write_bytes(content[: len(content) // 2])
    save_file(small[0].weights, tmp_path / "torn.safetensors")
    content = (tmp_path / "torn.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(content[: len(content) // 2])
    for name in ("torn.pt", "torn.safetensors"):
        with pytest.raises(BadInput, match=f"{name}: not a whole file of weights"):
            published.read(tmp_path / name)
    with pytest.raises(BadInput, match=r"none\.pt: no such file"):
        published.read(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BadInput, match="holds no weights by name"):
        published.read(tmp_path / "list.pt")
    assert load_file(SMALL / "weights.safetensors")
