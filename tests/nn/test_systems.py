"""From declarations to what is trained: counts, prices, objectives, and models of one's own."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from made_batches import batch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.catalog import DeclarationError, parse
from pipeline.data.errors import BadInput
from pipeline.families import FAMILIES
from pipeline.families.custom.spec import Custom
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn import systems
from pipeline.training.steps.loop import parameters

SIZES = [(name, size) for name, each in FAMILIES.items() for size in each.SIZES]


@pytest.mark.parametrize(("family", "size"), SIZES)
def test_declared_counts_are_those_of_the_module(family, size):
    model = FAMILIES[family].model_validate({"size": size})
    with torch.device("meta"):
        module = systems.build(model, None).module
    declared = model.parameters()
    assert parameters(module) == (declared.trained, declared.total)


def test_flops_a_token_are_those_of_the_matrices():
    model = FM4NPPMamba2(size="m3", layers=2)
    module, events = systems.build(model, None).module, batch([256])
    with FlopCounterMode(display=False) as counter:
        module(events)
    # The chunked scan does more products than the recurrence, which is what is declared.
    scans = sum(
        count
        for operator, count in counter.get_flop_counts()["Global"].items()
        if operator is torch.ops.aten.bmm
    )
    matrices = counter.get_total_flops() - scans
    layer = 3 * 512 * 16 + (512 + 32) * 4  # recurrence and convolution, no matrices
    frozen = 2 * model.frozen
    declared = (model.flops_per_token(256) - frozen) / 3 - 2 * 2 * layer + frozen
    assert matrices / 256 == pytest.approx(declared)


OWN = """
import torch
from torch import nn


class Mean(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Linear(4, width)

    def forward(self, batch):
        return self.net(batch.points)


def build(settings):
    return Mean(**settings)


def size(output, batch):
    return {"size": output.square().mean()}


def other(output, batch):
    return {"other": output.mean()}
"""
POINT = ("energy", "eta", "phi", "r")


def own(tmp_path, text=OWN, **changes):
    code = tmp_path / "mine.py"
    code.write_text(text)
    asked = {"code": code, "columns": POINT, "objectives": {"size": 2.0}, "settings": {"width": 3}}
    return parse(Custom, asked | changes)


def test_a_model_of_ones_own_is_one_file(tmp_path):
    system = systems.build(own(tmp_path, objectives={"size": 2.0, "other": 0.5}), None)
    made = batch([4, 7])
    output = system.module(made)
    total, parts = system.objective(output, made)
    assert output.shape == (11, 3)
    assert set(parts) == {"size", "other"}
    torch.testing.assert_close(total, 2 * parts["size"] + 0.5 * parts["other"])
    assert system.reads.columns == POINT


def test_the_example_of_the_documents_is_a_model(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "add-a-model.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    asked = {"objectives": {"nearest": 1.0}, "settings": {"width": 8}, "neighbours": 2}
    system, made = systems.build(own(tmp_path, code, **asked), None), batch([9, 4])
    total, parts = system.objective(system.module(made), made)
    assert set(parts) == {"nearest"}
    total.backward()
    assert all(weight.grad.any() for weight in system.module.parameters())


def test_an_objective_of_ones_own_joins_those_of_a_family(tmp_path):
    (tmp_path / "loss.py").write_text("def spread(output, batch): return {'spread': output.std()}")
    model = FM4NPPMamba2(
        width=32,
        layers=1,
        neighbours=2,
        objectives={"neighbours": 1.0, f"{tmp_path}/loss.py:spread": 0.1},
    )
    system, made = systems.build(model, None), batch([9])
    total, parts = system.objective(system.module(made), made)
    torch.testing.assert_close(total, parts["neighbours"] + 0.1 * parts["spread"])


def test_an_objective_of_ones_own_is_found_from_anywhere_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("loss.py").write_text("def spread(output, batch): return {'spread': output.std()}")
    for kind, more in ((FM4NPPMamba2, {"width": 32, "layers": 1, "neighbours": 2}), (Custom, {})):
        asked = more or {"code": __file__, "function": "own", "columns": POINT}
        found = parse(kind, asked | {"objectives": {"loss.py:spread": 0.1}})
        assert list(found.objectives) == [f"{tmp_path}/loss.py:spread"]
        with pytest.raises(DeclarationError, match=r"loss\.py: defines no 'scatter'"):
            parse(kind, asked | {"objectives": {"loss.py:scatter": 0.1}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from os import *", "mine.py: it defines no 'build'."),
        (
            "size = 1\ndef build(settings): return 3",
            "build returned int; expected a torch.nn.Module",
        ),
        ("build = size = 3", "mine.py: build is no function"),
        (
            "size = 1\nimport no_such_thing as build",
            "mine.py: cannot be loaded (ModuleNotFoundError",
        ),
    ],
)
def test_a_file_that_is_no_model(tmp_path, text, message):
    with pytest.raises(BadInput) as caught:
        systems.build(own(tmp_path, text), None)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "x = 1"}, "mine.py: defines no 'build'"),
        ({"text": "def build("}, "mine.py: cannot be read as Python"),
        ({"code": "none.py"}, "none.py: no such file"),
        ({"objectives": {}}, "objectives: name those of mine.py to minimise"),
        ({"objectives": {"length": 1.0}}, "mine.py: defines no 'length'"),
        ({"objectives": {"none.py:size": 1.0}}, "none.py: no such file, from "),
    ],
)
def test_a_declaration_of_ones_own_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(DeclarationError, match=message):
        own(tmp_path, **changes)


def test_every_objective_of_a_family_stands_beside_it():
    for family in FAMILIES.values():
        if family is Custom:
            continue
        model = family.model_validate({"size": next(iter(family.SIZES))})
        assert set(family.DEFAULT_OBJECTIVES) <= set(family.OBJECTIVES)
        assert all(callable(systems.objective(model, name)) for name in family.OBJECTIVES)
