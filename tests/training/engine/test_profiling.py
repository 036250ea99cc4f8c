"""A profile says where steps go, and changes no bit of what they make."""

import gzip
import json
import re
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import pretraining, result, start

from pipeline.training.engine.profiling import PARTS, Profile, part

STEPS = 4


@pytest.fixture(scope="module")
def profiled(store, tmp_path_factory):
    """A pretraining like `undisturbed`, of which some steps were traced."""
    folder = pretraining(tmp_path_factory.mktemp("profiled"), store)
    program = [sys.executable, "-m", "pipeline.training.programs.pretrain", str(folder.path)]
    log = folder.path / "log.txt"
    ranks = start([*program, "--profile", str(STEPS)], size=2, log=log)
    assert [rank.wait(120) for rank in ranks] == [0, 0], log.read_text()
    return folder


@pytest.mark.slow
def test_its_weights_are_those_of_a_training_without(profiled, undisturbed):
    assert result(profiled)["weights_sha256"] == result(undisturbed)["weights_sha256"]
    assert not undisturbed.profile.exists()


@pytest.mark.slow
def test_its_table_says_where_a_step_goes(profiled):
    text = (profiled.profile / "table.txt").read_text()
    assert text.startswith(f"{STEPS} steps traced.")
    rows = dict(re.findall(r"^([a-z ]+?) +([\d.-]+) ms", text, re.MULTILINE))
    spent = {name: float(value) for name, value in rows.items()}
    assert set(spent) == {*PARTS, "other", "a step", "communication"}
    assert all(spent[name] > 0 for name in PARTS if name != "validation")
    assert sum(spent[name] for name in (*PARTS, "other")) == pytest.approx(spent["a step"], abs=0.1)
    assert 0 < spent["communication"] < spent["a step"]
    assert "aten::" in text


@pytest.mark.slow
def test_its_trace_is_one_that_viewers_read(profiled):
    with gzip.open(profiled.profile / "trace-rank0.json.gz", "rt") as stream:
        events = json.load(stream)["traceEvents"]
    steps = [each for each in events if str(each.get("name", "")).startswith("ProfilerStep")]
    assert len({each["name"] for each in steps}) == STEPS
    assert {"forward", "backward"} <= {each.get("name") for each in events}


@pytest.mark.slow
def test_a_training_leaves_the_record_of_its_link(profiled):
    (path,) = profiled.link_records
    link = json.loads(path.read_text())
    assert (link["steps"], link["events"], link["processes"]) == (60, 240, 2)
    assert link["began"] < link["first_step"] < link["last_step"] < link["ended"]
    assert link["saving_seconds"] > 0


def test_a_training_that_ends_before_it_is_warm_says_so(tmp_path):
    with Profile(tmp_path, 5) as profile:
        for _ in range(2):
            with part("forward"):
                torch.ones(2).sum()
            profile.step()
    assert not list(tmp_path.iterdir())
