"""A user's own downstream task, and heads on a user's own model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import batch

from pipeline.campaign import FinetuneTask, Training
from pipeline.catalog import DeclarationError, missing_from, parse
from pipeline.data.errors import BadInput
from pipeline.downstream.custom.spec import CustomTask
from pipeline.drawing.event import Event
from pipeline.families.custom.spec import Custom
from pipeline.nn import systems
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune

OWN = Path(__file__).parents[1] / "additions/own"
MODEL = {
    "code": str(OWN / "my_model.py"),
    "settings": {"width": 8},
    "columns": ["energy", "eta", "phi", "r"],
    "objectives": {"energy": 1.0},
    "hidden_width": 8,
}
TASK = {
    "code": f"{OWN}/my_task.py:Hard",
    "per_point": ["pt_gev"],
    "scores": {"wrong": "Misplaced points"},
    "settings": {"above_gev": 0.5},
}
WHOLE = """
import torch
from torch import nn


class Base:
    pass


class Task:
    build = loss = predict = score = staticmethod(lambda *_: {answer})
"""


def task(**changes):
    return parse(CustomTask, TASK | changes)


def model(**changes):
    return parse(Custom, MODEL | changes)


def answering(tmp_path, answer):
    """A task all of whose functions return `answer`."""
    file = tmp_path / f"task{abs(hash(answer))}.py"
    file.write_text(WHOLE.format(answer=answer))
    return task(code=f"{file}:Task")


def points():
    return replace(batch([9, 4]), per_point={"pt_gev": torch.rand(13)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "no.py:Hard"}, "no.py: no such file"),
        ({"code": f"{OWN}/my_task.py:Soft"}, "defines no 'Soft'"),
        ({"per_point": []}, "name the truth: per_point or per_event"),
        ({"smaller_is_better": ["x"]}, "smaller_is_better: 'x' is none of scores: wrong"),
        ({"scores": {}}, "scores: "),
    ],
)
def test_a_task_that_cannot_be_is_refused_when_the_campaign_is_read(changes, message):
    with pytest.raises(DeclarationError, match=message):
        task(**changes)


def test_a_file_is_read_and_not_run(tmp_path):
    file = tmp_path / "task.py"
    file.write_text("raise SystemExit\nclass Hard(Other): ...\nif x:\n    from a import b as c\n")
    assert missing_from(file, ["Hard", "b", "c"]) == ["b"]
    assert not missing_from(file, ["x"], within="Hard"), "only running it says what a base brings"
    file.write_text("from a import *")
    assert not missing_from(file, ["x"]), "only running it says what that is"
    file.write_text("class Hard:\n  def build(): ...\n  loss = draw = build\n")
    with pytest.raises(DeclarationError, match="Hard has no predict, score"):
        task(code=f"{file}:Hard")
    file.write_text("class Hard:\n  def (")
    with pytest.raises(ValueError, match="cannot be read as Python"):
        missing_from(file, ["Hard"])


def test_a_class_that_lacks_a_function_is_named_at_the_first_step(tmp_path):
    file = tmp_path / "task.py"
    file.write_text("class Base: build = int\nclass Hard(Base): loss = int\n")
    with pytest.raises(BadInput, match=r"task.py: Hard has no predict, score"):
        task(code=f"{file}:Hard").module().build(task(code=f"{file}:Hard"), model())


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("build", "3", "build returned int; expected a torch.nn.Module"),
        ("loss", "torch.zeros(1)", "loss returned Tensor; expected a dict by name"),
        ("predict", "[]", "predict returned list; expected a dict by name"),
        ("predict", "dict(x=torch.zeros(5))", "predict returned 5 rows of 'x'; expected one"),
        ("score", "'good'", "score returned str; expected numbers by name"),
        ("score", "dict(right=1.0)", "score returned no wrong, which `scores` names"),
    ],
)
def test_what_a_function_returns_is_checked(tmp_path, name, answer, message):
    own = answering(tmp_path, answer)
    calls = {
        "build": lambda: own.module().build(own, model()),
        "loss": lambda: own.module().loss(None, points(), own),
        "predict": lambda: own.module().predict(None, points(), own),
        "score": lambda: own.scoring().score({}, None, own, 1),
    }
    with pytest.raises(BadInput, match=message):
        calls[name]()


def event():
    columns = {"eta": np.zeros(3), "phi": np.arange(3.0)}
    return Event(5, columns, {"predicted_hard": np.zeros(3, np.int64)}, {})


def test_events_are_drawn_where_the_file_can_be_run_and_shown_where_it_cannot():
    kept = task().pictures([event()])
    (picture,) = kept.values()
    assert picture.dtype == np.uint8
    assert picture.shape == (200, 200, 4)
    display = task().beside("display")
    shown = display.draw(Event(5, event().columns, event().arrays, kept), ())
    assert len(shown.axes[0].images) == 1
    assert not display.draw(event(), ()).axes[0].images, "the default display"


def test_a_drawing_that_fails_costs_the_pictures_alone(tmp_path, capsys):
    file = tmp_path / "task.py"
    file.write_text("class T:\n    build = loss = predict = score = int\n    draw = open\n")
    assert task(code=f"{file}:T").pictures([event()]) == {}
    assert "T: draw failed (TypeError" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["frozen", "lora", "full", "scratch", "head"])
def test_a_head_on_a_model_of_ones_own_learns_in_every_mode(mode):
    asked = FinetuneTask(
        key="finetune/x",
        seed=3,
        mode=mode,
        model=model(),
        head=task(),
        lora_rank=2,
        store="x",
        split="train",
        labels=8,
        training=Training(
            events_seen=8,
            batch_events=4,
            learning_rate=1e-3,
            checkpoint_events=4,
            walltime_minutes=1,
        ),
    )
    network = finetune.network(asked)
    finetune.adapt(network, asked)
    data, own = points(), asked.head
    loss = own.module().loss(network(data), data, own)["hard"]
    loss.backward()
    trained = {name for name, each in network.named_parameters() if each.grad is not None}
    heads = {name for name in trained if name.startswith("head.")}
    assert heads
    assert (trained == heads) == (mode == "frozen")
    assert bool(len(getattr(network.backbone, "layers", ()))) == (mode != "head")


def test_states_are_held_to_what_the_model_declares():
    network = Downstream(model(hidden_width=16), task(), stored=False)
    with pytest.raises(BadInput, match=r"shapes \[\(13, 8\)\]; expected \[\(13, 16\)\]"):
        network.hidden_of(points())
    network = Downstream(model(event_state_width=4), task())
    with pytest.raises(BadInput, match=r"states of events of shape None; expected \(2, 4\)"):
        network.hidden_of(points())


@pytest.mark.parametrize(
    ("attribute", "layers", "found"),
    [("trunk", 2, "has none"), ("backbone", 1, r"has one that differs in layers\.1\.bias")],
)
def test_a_model_whose_weights_no_head_would_find_is_refused_before_it_trains(
    tmp_path, attribute, layers, found
):
    text = (OWN / "my_model.py").read_text()
    file = tmp_path / "my_model.py"
    text = text.replace("self.backbone", f"self.{attribute}")
    file.write_text(text.replace("Backbone(width, layers=2)", f"Backbone(width, layers={layers})"))
    with pytest.raises(BadInput, match=rf"as its attribute `backbone`, .* it {found}"):
        systems.build(model(code=str(file)), None)
    systems.build(model(code=str(file), hidden_width=None), None)


def test_the_check_of_the_backbone_leaves_the_initial_weights_as_they_are():
    torch.manual_seed(1)
    made = systems.build(model(), None).module
    torch.manual_seed(1)
    bare = systems.build(model(hidden_width=None), None).module
    assert all(map(torch.equal, made.parameters(), bare.parameters()))
    assert torch.rand(1) != torch.rand(1)


def test_a_model_without_a_backbone_takes_no_heads(tmp_path):
    bare = model(hidden_width=None)
    assert "no head can be put on it: give it hidden_width" in bare.refuses_mode("full")
    file = tmp_path / "bare.py"
    file.write_text("energy = build = backbone = print\n")
    assert "defines no embedding(settings)" in model(code=str(file)).refuses_mode("head")
    assert not model(code=str(file)).refuses_mode("full")
    file.write_text("energy = build = print\n")
    with pytest.raises(DeclarationError, match="defines no 'backbone'"):
        model(code=str(file))
