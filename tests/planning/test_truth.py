"""Classes and truth that a dataset has not are told before anything is submitted."""

import json
from dataclasses import replace

import pytest
from scheduler_fakes import FakeScheduler, tiny_plan

from pipeline.campaign import Campaign, load_campaign
from pipeline.chains.job_manager import JobManager
from pipeline.chains.watch import Chain, TaskError
from pipeline.data.store.manifest import ArrayRecord, Manifest, ShardRecord, write_manifest
from pipeline.planning.misuse import misuse
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.planning.truth import problems, unknown
from pipeline.run import Run
from pipeline.site import load_site

TINY = {
    "events_seen": 48,
    "batch_events": 4,
    "learning_rate": 1e-3,
    "walltime_minutes": 5,
    "checkpoint_events": 16,
}
PART = {"family": "part", "width": 16, "layers": 1, "class_layers": 1, "heads": 2}


def campaign(experiment="jetclass", *, classes=("QCD", "Hbb"), model_classes=10, **head):
    """A campaign that pretrains on the classes of jets, and fine-tunes on others."""
    suffix = {"jetclass": "root", "omnilearned": "h5"}[experiment]
    files = {"folder": "/nowhere", "splits": {"train": [f"*.{suffix}"], "test": ["t.*"]}}
    dataset = {"experiment": experiment, "files": {"train": 2, "test": 1}, **files}
    return Campaign.model_validate(
        {
            "name": "made",
            "seed": 1,
            "datasets": {"jets": dataset},
            "models": {"m": PART | {"classes": model_classes}},
            "pretrain": {"dataset": "jets", "models": ["m"], "events": [16], "training": TINY},
            "finetune": {
                "classes": {
                    "dataset": "jets",
                    "modes": ["full"],
                    "labels": [8],
                    "seeds": [1],
                    "head": {"task": "jets", "classes": list(classes), "pooling": "token", **head},
                    "training": TINY,
                }
            },
        }
    )


def planned(tmp_path, what):
    run = Run(tmp_path, "made")
    return make_plan(what.tasks(run, elsewhere=True), run, load_site("local"), RunOptions())


def store(path, labels, *, arrays=("label", "points")):
    """Write the manifest of a store whose splits have these labels."""
    kinds = {name: ArrayRecord(dtype="int64", per="event", width=0) for name in arrays}
    shards = [
        ShardRecord(
            split=split, name="00000-000", events=4, points=9, arrays=kinds, files={}, labels=its
        )
        for split, its in labels.items()
    ]
    totals = dict.fromkeys(labels, 4)
    path.mkdir(parents=True)
    write_manifest(
        path,
        Manifest(
            experiment="omnilearned",
            columns=(),
            order="file",
            neighbours=0,
            min_points=1,
            max_points=9,
            fractions={},
            files={},
            sources=(),
            rejected={},
            events=totals,
            points=totals,
            shards=tuple(shards),
        ),
    )


def test_classes_that_no_file_of_the_experiment_counts_are_told_at_once(tmp_path):
    what = campaign(classes=("b", "c", "other"), labels=[[1], [2], [11, 12]])
    (line,) = problems(planned(tmp_path, what))
    assert line == (
        "finetune/classes-m-d16-s1-full-l8-s1: experiment 'jetclass': its events have the labels 0 "
        "to 9, so none is of class other. Name the classes that it has, in the order of their "
        "labels, or give each its `labels`."
    )
    assert line in misuse(planned(tmp_path, what), FakeScheduler())


def test_fewer_classes_than_the_experiment_counts_may_be_right_and_is_said(tmp_path):
    plan = planned(tmp_path, campaign(classes=("QCD", "Hbb")))
    assert list(problems(plan)) == []
    (line,) = unknown(plan)
    assert "jets.zarr: which classes its events have is not known yet." in line
    assert list(unknown(planned(tmp_path, campaign(classes=("b", "c"), labels=[[1], [2]])))) == []


def test_where_neither_experiment_nor_store_knows_that_is_said(tmp_path):
    plan = planned(tmp_path, campaign("omnilearned"))
    assert list(problems(plan)) == []
    (line,) = unknown(plan)
    assert "It is checked as soon as the store is there" in line


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        (
            {"train": (0, 1), "test": (0, 1)},
            ("QCD", "Hbb", "top"),
            "its events have the labels 0, 1, so none is of class top.",
        ),
        (
            {"train": (0,), "test": (0, 1)},
            ("QCD", "top"),
            "its events have the label 0, so none is of class top.",
        ),
        (
            {"train": (0, 1), "test": (0, 1, 2)},
            ("QCD", "top"),
            "its events have the labels 0 to 2, and the label 2 is none of the 2 classes.",
        ),
    ],
    ids=["none has it", "not in the split of the training", "a label without a class"],
)
def test_what_a_staged_store_has_not_is_told(tmp_path, labels, classes, told):
    store(Run(tmp_path, "made").store("jets"), labels)
    plan = planned(tmp_path, campaign("omnilearned", classes=classes))
    (line,) = problems(plan)
    assert told in line
    assert list(unknown(plan)) == []


def test_a_model_with_fewer_classes_than_the_store(tmp_path):
    store(Run(tmp_path, "made").store("jets"), {"train": (0, 1, 2), "test": (0,)})
    what = campaign("omnilearned", classes=("a", "b", "c"), model_classes=2)
    (line,) = problems(planned(tmp_path, what))
    assert line.startswith("pretrain/m-d16-s1: ")
    assert "labels from 0 to 2; the model has 2 classes, counted from 0." in line


def test_truth_that_a_staged_store_has_not_is_told(tmp_path):
    store(Run(tmp_path, "made").store("jets"), {"train": None, "test": None}, arrays=("points",))
    lines = list(problems(planned(tmp_path, campaign("omnilearned"))))
    assert len(lines) == 1
    assert "split 'train' has no label, which it learns; it has points." in lines[0]


def test_a_store_of_an_earlier_version_does_not_tell(tmp_path):
    store(Run(tmp_path, "made").store("jets"), {"train": None, "test": None})
    plan = planned(tmp_path, campaign("omnilearned"))
    assert list(problems(plan)) == []
    (line,) = unknown(plan)
    assert "it was staged before stores recorded which classes" in line


def test_a_store_that_holds_what_is_asked_for_passes(tmp_path):
    store(Run(tmp_path, "made").store("jets"), {"train": (0, 1), "test": (0, 1)})
    plan = planned(tmp_path, campaign("omnilearned"))
    assert (list(problems(plan)), list(unknown(plan))) == ([], [])


def test_truth_of_other_tasks_is_not_asked_for_classes(tmp_path):
    plan = tiny_plan(tmp_path, "local")
    assert (list(problems(plan)), list(unknown(plan))) == ([], [])


def test_a_training_on_a_store_that_was_staged_meanwhile_is_not_submitted(tmp_path):
    plan = planned(tmp_path, campaign("omnilearned", classes=("QCD", "Hbb", "top")))
    scheduler = FakeScheduler()
    step = next(each for each in plan.steps if each.task.stage == "finetune")
    chain = Chain(replace(step, shares="", links=1, nodes=1), JobManager(plan, scheduler))
    store(plan.run.store("jets"), {"train": (0, 1), "test": (0, 1)})
    with pytest.raises(TaskError, match="so none is of class top") as caught:
        chain.advance()
    assert caught.value.outcome == "bad_input"
    assert scheduler.jobs == {}


def test_plan_tells_it_and_ends_with_2(cosmotron, tmp_path):
    path = tmp_path / "made.toml"
    load = load_campaign("jet-models").model_dump(mode="json", exclude_none=True)
    load["finetune"]["classes"]["head"] |= {"classes": ["b", "z"], "labels": [[1], [99]]}
    path.write_text(_toml(load))
    told = cosmotron("plan", path, "--root", tmp_path)
    assert told.code == 2
    assert "It cannot run as it is:" in told.words
    assert "its events have the labels 0 to 9, so none is of class z." in told.words
    told = cosmotron("plan", path, "--root", tmp_path, "--json")
    assert any("none is of class z" in line for line in json.loads(told.out)["problems"])


def _toml(table):
    import tomli_w

    return tomli_w.dumps(table)
