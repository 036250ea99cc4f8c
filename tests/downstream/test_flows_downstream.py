"""Backbones with a flow under the head of jets, in every mode of fine-tuning."""

import pytest

torch = pytest.importorskip("torch")

from made_flows import epic, jet_batch, learned

from pipeline.campaign import FinetuneTask, Training
from pipeline.downstream.jets.spec import JetTask
from pipeline.nn import systems
from pipeline.training.programs import finetune

TWO = JetTask(classes=("QCD", "top"), pooling="token")
MODELS = {"omnilearned": learned(), "epic-fm": epic(classes=2, width=32, time_width=8)}
every_family = pytest.mark.parametrize("family", MODELS)


def asked(model, mode):
    training = Training(
        events_seen=8, batch_events=4, learning_rate=1e-3, checkpoint_events=4, walltime_minutes=1
    )
    return FinetuneTask(
        key="finetune/x",
        seed=3,
        mode=mode,
        model=model,
        head=TWO,
        lora_rank=2,
        store="x",
        split="train",
        labels=8,
        training=training,
    )


def labelled(model, count=24):
    """Jets with their labels, which the backbone is not given."""
    batch = jet_batch(model, count)
    batch.per_event["label"] = torch.arange(count) % 2
    return batch


@every_family
@pytest.mark.parametrize("mode", ["frozen", "lora", "full", "scratch", "head"])
def test_each_mode_learns(family, mode):
    task = asked(MODELS[family], mode)
    module, batch = finetune.network(task), labelled(MODELS[family])
    finetune.adapt(module, task)
    trained = [each for each in module.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(trained, 0.1 if mode == "frozen" else 0.01)
    losses = []
    for _ in range(25):
        loss = TWO.module().loss(module(batch), batch, TWO)["class"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


@every_family
def test_the_pretrained_backbone_finds_its_place(family):
    model = MODELS[family]
    prefix, weights = "backbone.", systems.build(model, None).module.state_dict()
    backbone = finetune.network(asked(model, "full")).backbone
    own = {n.removeprefix(prefix): each for n, each in weights.items() if n.startswith(prefix)}
    backbone.load_state_dict(own)
    assert own
    assert all(torch.equal(each, own[name]) for name, each in backbone.state_dict().items())


@every_family
def test_the_label_does_not_reach_the_head(family):
    model = MODELS[family]
    module, batch = finetune.network(asked(model, "full")).eval(), labelled(model)
    told = module(batch)
    batch.per_event["label"] = 1 - batch.per_event["label"]
    assert torch.equal(module(batch), told)
