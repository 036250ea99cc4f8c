"""The memory of trainings on a site's devices: predicted, made to fit, refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import catalog
from pipeline.campaign import (
    CHAINED,
    SHELF,
    Campaign,
    FinetuneTask,
    PretrainTask,
    Task,
    Training,
    load_campaign,
)
from pipeline.catalog import DeclarationError
from pipeline.data.store.manifest import Manifest, ShardRecord, write_manifest
from pipeline.downstream import TASKS
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families import Parameters
from pipeline.families.fm4npp.spec import FM4NPPMamba
from pipeline.families.part.spec import ParT
from pipeline.outcome import Exit
from pipeline.planning import fitting
from pipeline.planning.event_sizes import EventSizes, event_sizes
from pipeline.planning.fitting import check, chosen, fitted, too_large
from pipeline.planning.memory import GB, memories, needed, states
from pipeline.run import Run
from pipeline.site import Site, load_site

EVENTS = EventSizes(mean=856, most=3200)


@pytest.fixture(scope="module")
def perlmutter() -> Site:
    return load_site("perlmutter")


def training(**changes) -> Training:
    asked = {"events_seen": 1000, "batch_events": 256, "learning_rate": 1e-3}
    return Training(**{**asked, "walltime_minutes": 10, **changes})


def task(model=None, **changes) -> PretrainTask:
    return PretrainTask(
        key="pretrain/m2",
        seed=1,
        model=model or FM4NPPMamba(size="m2"),
        store=Path("/nowhere.zarr"),
        split="train",
        events=1000,
        training=training(**changes),
    )


def gb(site: Site, sizes: EventSizes = EVENTS, model=None, **changes) -> float:
    asked = task(model, **changes)
    return needed(asked, asked.training, site, sizes).total / GB


# Bytes for each parameter at the peak of a step with few events, measured with DeepSpeed 0.19.8
# (tests/training/engine/test_memory_of_stages.py measures one process again).
@pytest.mark.parametrize(
    ("precision", "zero", "devices", "measured"),
    [
        *(("fp32", 0, 1, 20), ("fp32", 1, 1, 24), ("fp32", 2, 1, 24), ("fp32", 0, 2, 20)),
        *(("fp32", 1, 2, 18), ("fp32", 2, 2, 18), ("bf16", 0, 1, 20), ("bf16", 1, 1, 22)),
        *(("bf16", 2, 1, 22), ("bf16", 0, 2, 20), ("bf16", 1, 2, 12.6), ("bf16", 3, 2, 15.7)),
    ],
)
def test_weights_gradients_and_optimiser_are_as_deepspeed_has_them(
    precision, zero, devices, measured
):
    asked = training(precision=precision, zero=zero, devices=devices)
    assert states(Parameters(1000), asked) / 1000 == pytest.approx(measured, rel=0.15)


def test_optimiser_average_and_frozen_weights_count():
    one = training(zero=1)
    base = states(Parameters(1000), one)
    assert states(Parameters(1000), training(zero=1, optimiser="lion")) == base - 4000
    assert states(Parameters(1000), training(zero=1, optimiser="ranger")) == base + 4000
    assert states(Parameters(1000), training(zero=1, amsgrad=True)) == base + 4000
    assert states(Parameters(1000), training(zero=1, ema_events=9)) == base + 4000
    assert states(Parameters(1000, 500), one) == base + 2000


def test_no_bucket_is_larger_than_500_million():
    small, large = (states(Parameters(n), training(zero=1)) for n in (10**9, 2 * 10**9))
    assert large - small == pytest.approx(20e9)


def test_256_events_on_40_gb_do_not_fit_and_half_do(perlmutter):
    assert gb(perlmutter) > 40
    assert gb(perlmutter, micro_events=128) < 40
    assert gb(perlmutter, devices=2) < 40
    assert gb(perlmutter, activation_checkpointing=True) < 10
    assert gb(perlmutter, precision="bf16") < 0.8 * gb(perlmutter)
    plain = FM4NPPMamba(size="m2", kernels="torch")
    assert gb(perlmutter, model=plain) > gb(perlmutter), "states of all points are kept"


def test_without_a_mean_all_events_are_as_long_as_may_be(perlmutter):
    unknown = EventSizes(None, most=3200)
    assert gb(perlmutter, unknown) > gb(perlmutter)
    one = unknown.largest(7)
    assert (one.events, one.points, one.longest, one.squares) == (7, 22400, 3200, 7 * 3200**2)


def test_a_few_events_may_be_large_and_many_are_near_the_mean():
    few, many = EVENTS.largest(1), EVENTS.largest(10_000)
    assert few.points == pytest.approx(3 * 856)
    assert many.points == pytest.approx(1.02 * 856 * 10_000)
    assert few.longest <= many.longest <= 3200
    assert EventSizes(100, most=128).largest(4).points == 4 * 128


def test_fit_takes_as_many_events_at_once_as_fit(perlmutter):
    found = fitted(task(memory="fit"), perlmutter, EVENTS)
    assert (found.micro_events, found.activation_checkpointing) == (128, False)
    found = fitted(task(memory="fit", devices=4), perlmutter, EVENTS)
    assert (found.micro_events, found.activation_checkpointing) == (None, False)
    found = fitted(task(memory="fit", micro_events=16), perlmutter, EVENTS)
    assert found.micro_events == 16, "at most those declared"


def test_fit_computes_blocks_again_where_not_one_event_fits_else(perlmutter):
    deep = FM4NPPMamba(width=1536, layers=100)
    found = fitted(task(deep, memory="fit", devices=64, zero=3), perlmutter, EVENTS)
    assert found.activation_checkpointing
    assert gb(perlmutter, model=deep, devices=64, zero=3, micro_events=1) > 40


def test_fit_leaves_a_batch_norm_its_events(perlmutter):
    large = EventSizes(mean=120, most=128)
    wide = ParT(width=256, layers=24)
    asked = {"memory": "fit", "batch_events": 4096}
    found = fitted(task(wide, **asked), perlmutter, large)
    assert found is None
    layered = wide.model_copy(update={"norm": "layer"})
    assert fitted(task(layered, **asked), perlmutter, large).micro_events < 4096


def test_what_cannot_fit_is_refused_with_what_to_type(perlmutter, monkeypatch):
    (line,) = refusals(task(), perlmutter, monkeypatch)
    assert line.startswith(
        "pretrain/m2: Model fm4npp-mamba (m2) with 256 events at once is predicted to need "
    )
    assert "and a device of NERSC Perlmutter's nodes 'gpu' has 40 GB: 0.0 GB of weights" in line
    assert line.endswith('Write micro_events = 128 in its training, or memory = "fit".')
    deep = FM4NPPMamba(width=1536, layers=100)
    (line,) = refusals(task(deep, devices=64, zero=3), perlmutter, monkeypatch)
    assert 'Write activation_checkpointing = true in its training, or memory = "fit".' in line
    vast = FM4NPPMamba(width=32 * 640, layers=12)
    (line,) = refusals(task(vast), perlmutter, monkeypatch)
    assert "Not even one event at once fits with activation_checkpointing = true" in line


def refusals(asked: Task, site: Site, monkeypatch) -> list[str]:
    monkeypatch.setattr(fitting, "sizes_of", lambda *_: {asked.key: EVENTS})
    found = {asked.key: needed(asked, asked.training, site, EVENTS)}
    return list(too_large([asked], found, Any, site))


def test_where_no_device_is_declared_everything_fits():
    local = load_site("local")
    asked = task()
    memory = needed(asked, asked.training, local, EVENTS)
    assert memory.fits
    assert memory.total == memory.states + memory.activations


def test_an_unknown_model_is_not_judged(perlmutter):
    unknown = FM4NPPMamba(size="m1").model_copy(update={"family": "other"})
    asked = task()
    other = asked.model_copy(update={"model": unknown})
    assert needed(other, asked.training, perlmutter, EVENTS) is None


CAMPAIGN = """
name = "ladder"
[datasets.unlabelled]
experiment = "sphenix"
folder = "/nowhere"
splits = {{ train = ["*.npz"] }}
files = {{ train = 1 }}
mean_points = 856
neighbours = 30
[models.m2]
family = "fm4npp-mamba"
size = "m2"
[pretrain]
dataset = "unlabelled"
models = ["m2"]
events = [1000]
[pretrain.training]
events_seen = 1000
batch_events = 256
learning_rate = 1e-3
walltime_minutes = 10
{}
"""


@pytest.fixture
def declared(tmp_path):
    """Write a campaign of m2 with further keys of its training, and return its file."""

    def write(further: str) -> Path:
        file = tmp_path / "ladder.toml"
        file.write_text(CAMPAIGN.format(further))
        return file

    return write


def test_a_run_is_refused_before_anything_is_submitted(declared, perlmutter, tmp_path):
    def tasks(further: str) -> tuple[list[Task], Campaign]:
        campaign = load_campaign(str(declared(further)))
        return campaign.tasks(Run(tmp_path, "ladder"), elsewhere=True), campaign

    with pytest.raises(DeclarationError, match="To submit anyway: --no-check") as refused:
        check(*tasks(""), perlmutter)
    assert "Nothing was submitted:\n  - pretrain/m2-d1000-s1: Model" in str(refused.value)
    check(*tasks("micro_events = 128"), perlmutter)
    asking, campaign = tasks('memory = "fit"')
    check(chosen(asking, campaign, perlmutter), campaign, perlmutter)


@pytest.mark.parametrize("on", ["perlmutter", "frontier"])
def test_all_shipped_trainings_are_known_and_fit(on):
    site = load_site(on)
    for name in catalog.names(SHELF):
        campaign = load_campaign(name)
        tasks = campaign.tasks(Run(Path("/nowhere"), name), elsewhere=True, optional=True)
        found = memories(tasks, campaign, site)
        assert not [key for key, each in found.items() if not each.fits]
        trained = {each.key for each in tasks if isinstance(each, CHAINED) and learns(each)}
        assert trained == {*found}


def learns(task: Task) -> bool:
    """Whether anything is trained: bins are made without."""
    return task.model.family != "binning"


def tuned(mode: str, **changes) -> FinetuneTask:
    return FinetuneTask(
        key="finetune/m2",
        seed=1,
        mode=mode,
        model=FM4NPPMamba(size="m6"),
        head=TrackTask(),
        store=Path("/nowhere.zarr"),
        split="train",
        labels=1000,
        **{"cached": False, **changes},
        training=training(batch_events=8),
    )


def of_mode(site: Site, mode: str, **changes):
    asked = tuned(mode, **changes)
    return needed(asked, asked.training, site, EVENTS)


def test_a_frozen_backbone_keeps_its_states_alone(perlmutter):
    frozen, full = of_mode(perlmutter, "frozen"), of_mode(perlmutter, "full")
    states_of_layers = 8 * 856 * 12 * 1536 * 4
    assert states_of_layers < frozen.activations < full.activations / 3
    assert frozen.states < full.states / 4, "no gradients of a frozen backbone"
    assert full == of_mode(perlmutter, "scratch")
    lora = of_mode(perlmutter, "lora")
    assert (lora.activations, lora.states) == (full.activations, frozen.states)


def test_a_head_alone_needs_less(perlmutter):
    frozen, head = of_mode(perlmutter, "frozen"), of_mode(perlmutter, "head")
    cached = of_mode(perlmutter, "frozen", cached=True)
    assert head.activations < frozen.activations
    assert cached.activations < frozen.activations
    assert cached.states < frozen.states


def test_a_head_of_the_users_is_not_judged(perlmutter):
    custom = TASKS["custom"].model_construct(task="custom")
    asked = tuned("full").model_copy(update={"head": custom})
    assert needed(asked, asked.training, perlmutter, EVENTS) is None


def test_a_store_knows_its_events_better_than_its_declaration(declared, tmp_path):
    campaign = load_campaign(str(declared("")))
    store = tmp_path / "unlabelled.zarr"
    assert event_sizes(campaign, store) == EventSizes(856, 3200)
    shard = ShardRecord(split="train", name="00000", events=4, points=40, arrays={}, files={})
    manifest = Manifest(
        experiment="sphenix",
        columns=(),
        order="none",
        neighbours=0,
        min_points=1,
        max_points=100,
        fractions={},
        files={},
        sources=(),
        rejected={},
        events={"train": 4},
        points={"train": 40},
        shards=(shard,),
    )
    store.mkdir()
    write_manifest(store, manifest)
    assert event_sizes(campaign, store) == EventSizes(10, 100)


def test_plan_shows_the_memory_and_refuses(cosmotron, declared, tmp_path):
    words = ("--site", "perlmutter", "--root", tmp_path)
    told = cosmotron("plan", declared(""), *words)
    assert told.code == Exit.USAGE
    assert "It cannot run as it is: - pretrain/m2-d1000-s1: Model fm4npp-mamba (m2)" in told.words
    assert "Write micro_events = 128 in its training" in told.words
    told = cosmotron("plan", declared('memory = "fit"'), *words, "--json")
    (row,) = (each for each in json.loads(told.out)["steps"] if each["task"].startswith("pretrain"))
    assert row["events_at_once"] == 128
    assert row["memory_gb"] == pytest.approx((row["states_gb"] + row["activations_gb"]) / 0.85)
    told = cosmotron("plan", declared('memory = "fit"'), *words)
    assert told.code == 0
    assert "GB of 40" in told.out
    assert f"{row['memory_gb']:.1f}" in told.out
