"""Fine-tune: `python -m pipeline.training.programs.finetune FOLDER`, one process per device."""

from pathlib import Path

import torch
from torch import nn

from pipeline import records
from pipeline.campaign import FinetuneTask, PretrainTask, model_folder, stored, together
from pipeline.campaign.model_folder import ModelFolder
from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.families import Family
from pipeline.nn.losses import only
from pipeline.outcome import Exit, RunError
from pipeline.records import Weights
from pipeline.run import TaskFolder
from pipeline.training import loader, lora, unseen
from pipeline.training.engine import devices, engine
from pipeline.training.engine.optimisers import with_faster
from pipeline.training.network import Downstream
from pipeline.training.programs import program
from pipeline.training.steps.loop import fit
from pipeline.training.steps.spec import TrainSpec
from pipeline.training.weights import carried, load

BACKBONE, HEAD = "backbone.", "head."


def network(task: FinetuneTask | ModelFolder, store: Store | None = None) -> Downstream:
    """Return the untrained model of `task`; the head starts the same in all modes of one seed.

    But for the mode "head", whose backbone has no layers: it gives the embedded points; and on
    stored features, where the head is all there is.
    """
    assert task.head is not None, "its caller has looked"
    torch.manual_seed(getattr(task, "seed", 0))
    model = task.model
    if task.mode == "head":
        model = model.without_layers()
    return Downstream(model, task.head, store, stored=task.cached)


def adapt(model: Downstream, task: FinetuneTask | ModelFolder) -> None:
    """Let only that be trained which the mode of `task` trains; a change of low rank is made."""
    if task.mode == "frozen":
        model.backbone.requires_grad_(False)
    elif task.mode == "lora":
        lora.adapt(model.backbone, task.lora_rank)


def build(task: FinetuneTask, store: Store | None = None) -> Downstream:
    """Return the model of `task` as its training begins, with pretrained weights if it has any.

    Raises:
        RunError: The pretrained weights are not there.
        BadInput: They are of another model.
    """
    model = network(task, store)
    if task.backbone is not None and not task.cached:
        start(model.backbone, task.backbone, task.model, prefix=BACKBONE)
    adapt(model, task)
    return model


def start(module: nn.Module, folder: Path, model: Family, *, prefix: str = "") -> None:
    """Give `module`, which is of `model`, the weights in `folder` whose names begin with `prefix`.

    All of them, if they are of the same model; of another one that `model` can start from, those
    that have a place here.

    Raises:
        RunError: They are not there.
        BadInput: They are of a model that this one cannot start from.
    """
    weights = {
        name.removeprefix(prefix): value
        for name, value in trained(folder).items()
        if name.startswith(prefix)
    }
    found = declared_in(folder)
    _check_same(folder, found, model, model.MAY_DIFFER)
    if found.architecture != model.architecture:
        anew = tuple(name.removeprefix(prefix) for name in model.ANEW if name.startswith(prefix))
        weights = carried(weights, module.state_dict(), anew)
    module.load_state_dict(weights)


def trained(folder: Path, model: Family | None = None) -> dict[str, torch.Tensor]:
    """Return the weights in the folder of a finished training, or of a model for others.

    Args:
        folder: Of a task, or as `cosmotron export` and `cosmotron weights import` write it.
        model: What they are to be of, if that matters.

    Raises:
        RunError: They are not there, or not those that the folder speaks of.
        BadInput: They are of another family or size than `model`.
    """
    called, stated = model_folder.names(folder), model_folder.read(folder)
    path = folder / called.weights
    if stated is None:
        result = records.read(TaskFolder(folder).result, Weights)
        digest = None if result is None else result.weights_sha256
    else:
        digest = stated.weights.sha256
    if digest is None or not path.is_file():
        message = (
            f"{path}: no trained weights here. Finish that training first, or name a folder of "
            "cosmotron export or cosmotron weights import."
        )
        raise RunError(message)
    if model is not None:
        _check_same(folder, declared_in(folder), model)
    weights = load(path)
    if engine.weights_hash(weights) != digest:
        where = called.config if stated is not None else "result.json"
        message = f"{path}: not the weights that {folder / where} speaks of."
        raise RunError(message)
    return weights


def declared_in(folder: Path) -> Family:
    """Return the model whose weights are in the folder of a pretraining, or of a model for others.

    Raises:
        DeclarationError: The folder declares no model.
    """
    stated = model_folder.read(folder)
    if stated is not None:
        return stated.model
    return stored.read(TaskFolder(folder), PretrainTask).model


def _check_same(
    folder: Path, found: Family, model: Family, but: frozenset[str] = frozenset()
) -> None:
    """Check that the weights in `folder`, which are of `found`, are of `model`, `but` for fields.

    Raises:
        BadInput: They are of another family or size than `model`.
    """
    names = model.unlike(found, but)
    if names:
        wanted, there = model.architecture, found.architecture
        other = ", ".join(f"{name} {there.get(name)}" for name in names)
        this = ", ".join(f"{name} {wanted[name]}" for name in names)
        message = f"{folder}: weights of a model of {other}; this one is of {this}. Give its own."
        raise BadInput(message)


def finetune(
    task: FinetuneTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Fine-tune the head of a downstream task on labelled events."""
    reads = loader.with_truth(task.model, task.head, stored=task.cached)
    events = Selection(task.store, task.split, reads, task.labels, task.subset)
    store = events.open()
    unseen.begin(task, folder, task.backbone, records=world.is_first)
    engine.join(world)
    validation = loader.validation_events(events, task.validation)
    model = build(task, store)
    devices.check_kernels(task.model, model)
    loss = task.head.module().loss
    spec = TrainSpec(
        model,
        only(lambda output, batch: loss(output, batch, task.head)),
        events,
        task.seed,
        task.training,
        validation,
        takes_best=loader.takes_best(task.validation),
        scales=with_faster({}, model, (HEAD, *task.model.FASTER), task.training.head_rate),
        extra=together.entry(task, world.size),
        metadata=task.model.about | {"task": task.head.task},
    )
    return fit(spec, folder, world, stop)


if __name__ == "__main__":
    program.leave(program.start(finetune, FinetuneTask))
