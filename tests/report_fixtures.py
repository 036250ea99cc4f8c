"""A run folder as the programs leave it, small and made up."""

import json

import numpy as np
import pytest
from made_evaluations import campaign_of_all_tasks, write_evaluation
from made_results import evaluated, probed, simulated, staged

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import Campaign, load_campaign
from pipeline.downstream import restored
from pipeline.evaluation.result import Pictures
from pipeline.job import State
from pipeline.records import Trained
from pipeline.report import write_report
from pipeline.report.scores import Configuration, Evaluation
from pipeline.run import Run
from pipeline.site import Site
from pipeline.writing import write_json

ARI = {"frozen": 0.91, "full": 0.94, "scratch": 0.83}


@pytest.fixture(scope="session")
def campaign():
    declared = load_campaign("quickstart").model_dump()
    declared["finetune"]["tracking"]["seeds"] = [1, 2]
    declared["description"] = "Two seeds & <tags>."
    return Campaign.model_validate(declared)


@pytest.fixture(scope="session")
def site():
    role = {"node": "laptop"}
    return Site(
        name="local",
        title="This machine",
        as_of="2026-11-01",
        scheduler="local",
        accelerator="cpu",
        nodes={"laptop": {"devices": 2, "cpus_per_device": 1}},
        training=role,
        pilot={"role": role, "workers_per_node": 2, "walltime_minutes": 30},
    )


@pytest.fixture
def fresh(tmp_path):
    return Run(tmp_path, "quickstart")


@pytest.fixture
def whole(fresh, campaign):
    """A run whose every task is done; without events to display, which are slow to draw."""
    make_run(fresh, campaign, events=0)
    return fresh


@pytest.fixture(scope="session")
def page(tmp_path_factory, campaign, site):
    """The report of a run whose every task is done, with an event to display for each mode."""
    run = Run(tmp_path_factory.mktemp("page"), "quickstart")
    make_run(run, campaign, events=1)
    return write_report(run, campaign, site).read_text()


@pytest.fixture(scope="session")
def every_task(tmp_path_factory, campaign):
    """A finished run with a fine-tuning of each downstream task, and its campaign."""
    run, asked = (
        Run(tmp_path_factory.mktemp("tasks"), "quickstart"),
        campaign_of_all_tasks(campaign),
    )
    make_run(run, asked, events=0)
    return run, asked


@pytest.fixture(scope="session")
def page_of_every_task(every_task, site):
    """The report of that run."""
    return write_report(*every_task, site).read_text()


@pytest.fixture(scope="session")
def probed_grid(tmp_path_factory, campaign):
    """A run whose models of two sizes, on two of data, are probed, all but one; two seeds."""
    declared = campaign.model_dump()
    model = declared["models"].pop("m0")
    declared["models"] = {"small": model | {"width": 32}, "large": model | {"width": 64}}
    declared["pretrain"] |= {"models": ["small", "large"], "events": [100, 1000], "seeds": [1, 2]}
    declared["probe"] = {"heldout": {"dataset": "unlabelled", "split": "train"}}
    declared["finetune"] = {}
    asked = Campaign.model_validate(declared)
    run, rng = Run(tmp_path_factory.mktemp("grid"), "quickstart"), np.random.default_rng(1)
    losses = {"small-d100-s1": 1.9, "small-d100-s2": 2.1, "small-d1000-s1": 1.5, "large-d100-s1": 1}
    for task in asked.tasks(run):
        name = task.key.partition("/")[2].removeprefix("heldout-")
        if task.stage == "pretrain":
            _train(run.task(task.key), task, rng)
        elif task.stage == "probe" and name in losses:
            events = int(name.split("-")[1][1:])
            run.task(task.key).finish(probed(losses[name], pretraining_events=events))
    return run, asked


@pytest.fixture(scope="session")
def page_of_a_grid(probed_grid, site):
    """The report of that run."""
    return write_report(*probed_grid, site).read_text()


def evaluation(
    score, seed=1, mode="full", labels=100, name="ari", interval=None, about=None, **more
):
    """A finished evaluation; what a test does not ask is made up."""
    what = {
        "model": "m0",
        "family": "particlenet",
        "width": 8,
        "layers": 2,
        "parameters": 9,
        "pretraining_events": 50,
    }
    what |= {"pretraining_seed": 1, "steps": 3, "data": "5e", "checkpoint": "ab", "training": "t"}
    what |= {"finetuning": "tracking", "task": restored({}, "tracks")}
    what |= {"mode": mode, "labels": labels, "seed": seed}
    scores = score if isinstance(score, dict) else {name: score}
    result = evaluated(scores, intervals={name: interval} if interval else {}, about=about or {})
    key = f"evaluate/{mode}-{labels}-{seed}"
    return Evaluation(key, Configuration(**what | more), result, Pictures())


def make_run(run, campaign, events):
    """Fill the folder of `run` as a whole campaign would."""
    rng = np.random.default_rng(1)
    tasks = {task.key: task for task in campaign.tasks(run)}
    for task in tasks.values():
        if task.stage == "evaluate" and list(campaign.finetune) != ["tracking"]:
            (trained,) = (tasks[key] for key in task.needs if key.startswith("finetune/"))
            write_evaluation(run.task(task.key), task, trained)
            continue
        MAKERS[task.stage](run.task(task.key), task, rng)
        if events and task.stage == "evaluate":
            np.savez(run.task(task.key).path / "events.npz", **event_arrays(events, rng))
    _stores(run)
    _ledger(run, campaign)
    environment = {"commit": "c0ffee" * 6, "host": "lap", "time": "2026-11-23T10:00:00+0000"}
    write_json(run.environment, environment | {"packages": {"numpy": "2.0"}})


def _simulate(folder, task, rng):
    for number in range(len(task.files)):
        write_json(folder.parts / f"{number:03d}.json", {"seconds": 1.5, "events": 250})
    folder.finish(simulated(means={"tracks": 15.6, "points": 856.0}, seconds=6.0))


def _stage(folder, task, rng):
    for number in range(len(task.files)):
        write_json(folder.parts / f"{number:03d}.json", {"seconds": 0.5})
    folder.finish(staged(seconds=2.0))


def _train(folder, task, rng):
    seen = np.arange(1, 251) * task.training.batch_events
    floor = {"frozen": 0.9, "full": 0.7, "scratch": 1.3}.get(getattr(task, "mode", ""), 0.05)
    loss = floor + 2.5 * np.exp(-np.arange(250) / 60) * rng.lognormal(0, 0.15, 250)
    folder.path.mkdir(parents=True)
    lines = [
        {"step": step + 1, "events_seen": int(seen[step]), "loss": float(loss[step]), "lr": 1e-3}
        for step in range(250)
    ]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    times = {"began": 0.0, "first_step": 20.0, "last_step": 190.0, "ended": 200.0}
    write_json(folder.links / "001.json", {"number": 1, "key": "k", **times})
    folder.finish(Trained(steps=250, parameters=345_678, loss=float(loss[-1])))


def _evaluate(folder, task, rng):
    mode = next(mode for mode in ARI if mode in task.key)
    ari = ARI[mode] + 0.01 * task.seed
    folder.finish(
        evaluated(
            {
                "ari": ari,
                "ari_pooled": ari - 0.03,
                "track_efficiency": ari + 0.02,
                "track_purity": ari - 0.01,
                "fake_rate": 0.01 + (1 - ari),
                "hit_efficiency": 0.97,
                **({} if mode == "frozen" else {"hit_purity": 0.98}),
            },
            intervals={
                "ari": (ari - 0.004, ari + 0.004),
                "track_efficiency": (ari + 0.015, ari + 0.025),
            },
            mode=mode,
            seed=task.seed,
            weights_sha256="ab12" * 16,
            seconds=4.2,
        )
    )


MAKERS = {
    "simulate": _simulate,
    "stage": _stage,
    "pretrain": _train,
    "finetune": _train,
    "evaluate": _evaluate,
}


def event_arrays(events, rng, tracks=14):
    """Return helices through the layers of a TPC, found with a few mistakes, and some noise."""
    radii = np.linspace(31.4, 75.4, 48)
    points, true, found, offsets = [], [], [], [0]
    for _ in range(events):
        for track in range(1, tracks + 1):
            curvature, phi0, eta0 = (
                rng.uniform(-0.01, 0.01),
                rng.uniform(-3.1, 3.1),
                rng.normal(0, 0.6),
            )
            phi = (phi0 + np.arcsin(curvature * radii) + np.pi) % (2 * np.pi) - np.pi
            eta = eta0 + rng.normal(0, 0.004, 48)
            points.append(np.stack([rng.gamma(2, 120, 48), eta, phi, radii], axis=1))
            true += [track] * 48
            split = 30 if track == 3 else 48
            found += [track] * split + [tracks + 5] * (48 - split)
        noise = 40
        eta, phi = rng.uniform(-1, 1, noise), rng.uniform(-3.1, 3.1, noise)
        r = rng.choice(radii, noise)
        points.append(np.stack([np.full(noise, 50.0), eta, phi, r], axis=1))
        true += [0] * noise
        found += [0] * 30 + [tracks + 6] * 10
        offsets.append(len(true))
    return {
        "points": np.concatenate(points).astype(np.float32),
        "offsets": np.array(offsets),
        "event_id": np.arange(events) + 7,
        "true_track": np.array(true, np.int32),
        "predicted_track": np.array(found, np.int32),
    }


MEAN_TRACKS = {"train": 15.6, "test": 12.4}  # of an event


def _stores(run):
    for name, splits in (("unlabelled", {"train": 998}), ("labelled", {"train": 249, "test": 125})):
        points = {split: 856 * count for split, count in splits.items()}
        tracks = {split: round(MEAN_TRACKS[split] * count) for split, count in splits.items()}
        shards = [{"split": split, "tracks": tracks[split]} for split in splits]
        manifest = {"events": splits, "points": points, "rejected": {"too_many_points": 3}}
        manifest["shards"] = shards
        write_json(run.store(name) / "manifest.json", manifest)


def _ledger(run, campaign):
    ledger = Ledger(run.ledger)
    for place, task in enumerate(campaign.tasks(run)):
        if task.stage not in ("pretrain", "finetune"):
            continue
        about = {"site": "local", "stage": task.stage, "task": task.key, "job_key": f"j{place}"}
        ledger.append(Record(kind=Kind.RESERVE, time=place, node_hours=0.16, **about))
        ledger.append(Record(kind=Kind.START, time=place + 10, **about))
        end = {"node_hours": 0.02 + place / 500, "seconds": 90, "state": State.COMPLETED}
        ledger.append(Record(kind=Kind.END, time=place + 100, **end, **about))
    pilot = {"site": "local", "stage": "pilot", "task": "pilot", "job_key": "p1"}
    ledger.append(Record(kind=Kind.RESERVE, time=1, node_hours=0.05, **pilot))
