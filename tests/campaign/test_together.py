"""What a training learns of a part of each batch only is said, of how many events it is."""

from pathlib import Path

import pytest

from pipeline.campaign import FinetuneTask, PretrainTask, Training, too_big
from pipeline.campaign.together import divided, entry, taken_together
from pipeline.downstream.jets.spec import JetTask
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.families.part.spec import ParT
from pipeline.families.particlenet.spec import ParticleNet

CONTRASTIVE = {"classes": 1.0, "contrastive": 1.0}
TRACKS = {"width": 16, "embedding_width": 16, "filter_width": 16}


def training(**changes):
    """A training in batches of 256 events."""
    asked = {"events_seen": 512, "batch_events": 256, "learning_rate": 1e-3}
    return Training(**asked, walltime_minutes=1, **changes)


def pretraining(model, **changes):
    """A pretraining of `model`."""
    return PretrainTask(
        key="pretrain/m",
        seed=1,
        model=model,
        store=Path("s.zarr"),
        split="train",
        events=512,
        training=training(**changes),
    )


def finetuning(mode, **changes):
    """A fine-tuning of ParT in one mode."""
    return FinetuneTask(
        key="finetune/m",
        seed=1,
        mode=mode,
        model=ParT(classes=2),
        head=JetTask(classes=("a", "b")),
        store=Path("s.zarr"),
        split="train",
        labels=512,
        training=training(**changes),
    )


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (ParT(), {}, ""),
        (ParT(), {"devices": 4}, ""),
        (ParT(), {"devices": 4, "micro_events": 64}, ""),
        (ParT(norm="layer"), {"micro_events": 16}, ""),
        (ParT(), {"devices": 4, "micro_events": 16}, "part: batch norm is over 64 of the 256"),
        (ParticleNet(), {"micro_events": 32}, "particlenet: batch norm is over 32 of the 256"),
        (OmniLearned(size="small"), {"devices": 4, "micro_events": 16}, ""),
        (
            OmniLearned(size="small", objectives=CONTRASTIVE),
            {"devices": 4, "micro_events": 16},
            "",
        ),
        (ExaTrkX(**TRACKS), {"devices": 4}, ""),
        (
            ExaTrkX(**TRACKS, filter_norms=("layer", "batch")),
            {"devices": 4},
            "exatrkx: the filter's batch norm is over 64 of the 256 events of a batch, those that",
        ),
    ],
)
def test_how_many_events_it_is_of(model, changes, said):
    task = pretraining(model, **changes)
    found = taken_together(task, task.training.devices)
    assert found.startswith(said)
    assert bool(found) is bool(said)
    assert entry(task, task.training.devices) == ({"taken_together": found} if found else {})


def test_as_many_processes_as_there_are_decide():
    task = pretraining(ParT(), devices=4, micro_events=64)
    assert taken_together(task, 4) == ""
    assert taken_together(task, 2).endswith(
        "128 of the 256 events of a batch, those that all processes take forward at once"
    )


def test_a_frozen_backbone_keeps_what_it_knows_and_each_thing_is_said_once():
    several = [finetuning(mode, micro_events=16) for mode in ("frozen", "lora", "head")]
    assert divided(several) == []
    (sentence,) = divided(
        [*several, *(finetuning(m, micro_events=16) for m in ("full", "scratch"))]
    )
    assert sentence.startswith("part: batch norm is over 16 of the 256 events")


def test_the_advice_on_memory_says_what_smaller_micro_batches_change():
    assert "none of them changes what is trained. A smaller" in too_big(
        pretraining(ParT(norm="layer")), 4
    )
    assert (
        "none of them changes what is trained, but that batch norm is over fewer events at once. A"
        in too_big(pretraining(ParT()), 4)
    )
