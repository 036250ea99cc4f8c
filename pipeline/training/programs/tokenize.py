"""Tokenize: `python -m pipeline.training.programs.tokenize TASK_FOLDER`, one process per device.

First the tokenizer is trained, then every process writes its share of the shards of tokens, and the
first one the manifest. Each may be killed at any time: training goes on from a checkpoint, writing
at the first shard that is not whole.
"""

import time

import torch

from pipeline import records
from pipeline.campaign import TokenizeTask
from pipeline.data import training_data
from pipeline.data.store import Store
from pipeline.data.store.manifest import write_manifest
from pipeline.data.store.tokens import WEIGHTS as STORED_WEIGHTS
from pipeline.data.store.tokens import write_tokenizer
from pipeline.data.training_data import TrainingData
from pipeline.job import batch_job_id
from pipeline.nn import systems, tokenizers
from pipeline.outcome import Exit
from pipeline.records import Ending, TaskProgress, Tokenized, Trained
from pipeline.run import TaskFolder
from pipeline.training.engine import engine
from pipeline.training.programs import program
from pipeline.training.programs.finetune import trained
from pipeline.training.steps.loop import train
from pipeline.training.steps.spec import TrainSpec
from pipeline.training.token_shards import Shards, manifest, quality, total_cut
from pipeline.training.weights import WEIGHTS, load

TRAINED = "trained.json"
POLL_SECONDS = 0.2


def tokenize(
    task: TokenizeTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Train a tokenizer, and make tokens of all jets of a store."""
    began = time.monotonic()
    result = _trained(task, folder, world, stop)
    if result is None:
        return Exit.CONTINUE
    stop.polls = True  # from here on each process goes at its own pace
    shards = _shards(task, folder, world)
    for number in range(world.rank, len(shards), world.size):
        if stop.requested:
            return Exit.CONTINUE
        if not shards.is_written(number):
            shards.write(number)
        stop.watch.beat()
    if not world.is_first:
        return _until_done(folder, stop)
    if not _all_written(shards, stop):
        return Exit.CONTINUE
    tokenizers.save(shards.codec, task.store / STORED_WEIGHTS)  # type: ignore[arg-type]
    training_data.write(task.store, _seen(task, folder))
    write_tokenizer(task.store, task.model.model_dump(mode="json"), task.model.codes)
    changes = {"seconds": time.monotonic() - began, "job_id": batch_job_id()}
    _finish(shards, result.model_copy(update=changes))
    return Exit.FINISHED


def _trained(
    task: TokenizeTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Trained | None:
    """Return the result of the training, an earlier link's if it was finished then.

    Of what has no weights it says so; None when asked to stop before the end.
    """
    if not task.model.parameters().trained:
        return Trained()
    if task.trained is not None:
        weights = engine.weights_hash(trained(task.trained))
        return Trained(parameters=task.model.parameters().trained, weights_sha256=weights)
    found = records.read(folder.path / TRAINED, Trained)
    if found is not None:
        return found
    events = tokenizers.jets(task.jets, task.split, task.events)
    store = events.open()
    if world.is_first:
        training_data.add(folder.path, training_data.of_split(store, task.split, task.key))
    engine.join(world)
    torch.manual_seed(task.seed)
    system = systems.build(task.model, None)
    spec = TrainSpec(
        system.module,
        system.objective,
        events,
        task.seed,
        task.training,
        prepare=tokenizers.featured,
        metadata=task.model.about,
    )
    result = train(spec, folder, world, stop)
    if result is not None and world.is_first:
        records.write(folder.path / TRAINED, result)
    return result


def _seen(task: TokenizeTask, folder: TaskFolder) -> TrainingData:
    """Return what the tokenizer was trained on: nothing, if it has no weights."""
    if not task.model.parameters().trained:
        return TrainingData()
    return training_data.gathered(folder.path if task.trained is None else task.trained)


def _shards(task: TokenizeTask, folder: TaskFolder, world: engine.World) -> Shards:
    """Return the shards to write, with the tokenizer as it was trained.

    Raises:
        BadInput: The store is not of jets.
    """
    jets = tokenizers.jets(task.jets, task.split, None).open()
    module = systems.build(task.model, None).module
    if task.model.parameters().trained:
        weights = load(folder.path / WEIGHTS) if task.trained is None else trained(task.trained)
        module.load_state_dict(weights)
    module.to(world.device).eval()
    digest = engine.weights_hash(module.state_dict())
    return Shards(folder, task, jets, module, digest, world.device)  # type: ignore[arg-type]


def _all_written(shards: Shards, stop: program.Stop) -> bool:
    """Return whether all shards are there, those of the other processes too; tell how many are."""
    report = program.Throttle(1.0)
    waiting = set(range(len(shards)))
    while True:
        waiting = {number for number in waiting if not shards.is_recorded(number)}
        if report() or not waiting:
            done = len(shards) - len(waiting)
            progress = TaskProgress(done=done, total=len(shards), unit="shards")
            records.write(shards.folder.progress, progress, durable=False)
        if not waiting:
            return True
        if stop.requested:
            return False
        stop.watch.beat()
        time.sleep(POLL_SECONDS)


def _until_done(folder: TaskFolder, stop: program.Stop) -> Exit:
    """Wait for the first process: a scheduler ends all soon after the first one has ended."""
    while not folder.is_done:
        result = records.read(folder.result, Ending)
        if stop.requested or (result is not None and not result.is_finished):
            return Exit.CONTINUE
        stop.watch.beat()
        time.sleep(POLL_SECONDS)
    return Exit.FINISHED


def _finish(shards: Shards, result: Trained) -> None:
    """Write the manifest, from which on the store exists, and the result."""
    made = list(shards.made())
    written = manifest(shards, made)
    write_manifest(shards.task.store, written)
    shards.folder.finish(
        Tokenized(
            **result.model_dump(exclude={"events"}),
            family=shards.task.model.family,
            codes=shards.task.model.codes,
            splits={split: quality(made, split) for split in written.events},
            events=written.events,
            points=written.points,
            rejected=total_cut(made),
            shards=len(made),
            store_sha256=Store.open(shards.task.store).manifest.content_sha256,
        )
    )


if __name__ == "__main__":
    program.leave(program.start(tokenize, TokenizeTask))
