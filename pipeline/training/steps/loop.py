"""The training loop of every program: step, measure, checkpoint, stop on request, resume."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import nn

from pipeline import claims
from pipeline.campaign import Training
from pipeline.job import batch_job_id
from pipeline.nn.batch import MicroBatch
from pipeline.outcome import Exit, SupersededError
from pipeline.records import Trained
from pipeline.run import TaskFolder
from pipeline.training.engine import checkpoint
from pipeline.training.engine.engine import Engine, World
from pipeline.training.engine.profiling import Profile, part
from pipeline.training.engine.random_states import begin_step
from pipeline.training.link.here import this_link
from pipeline.training.link.record import LinkRecorder
from pipeline.training.programs.program import Stop
from pipeline.training.steps import writers
from pipeline.training.steps.divergence import Divergence, recorded
from pipeline.training.steps.metrics import Metrics, Speed
from pipeline.training.steps.saving import Action, Saving
from pipeline.training.steps.schedule import factor, first_beta
from pipeline.training.steps.spec import TrainSpec
from pipeline.training.steps.validation import Validation
from pipeline.training.weights import WEIGHTS


def fit(spec: TrainSpec, folder: TaskFolder, world: World, stop: Stop) -> Exit:
    """Train, record the result and mark the task done; or leave it to be continued."""
    result = train(spec, folder, world, stop)
    if result is None:
        return Exit.CONTINUE
    if world.is_first:
        events = min(spec.events.count, result.events_seen)
        changes = {"job_id": batch_job_id(), "events": events, "extra": dict(spec.extra)}
        folder.finish(result.model_copy(update=changes))
    return Exit.FINISHED


def train(spec: TrainSpec, folder: TaskFolder, world: World, stop: Stop) -> Trained | None:
    """Train to the end, from the newest checkpoint on; return the result.

    Returns None after a checkpoint if the training was requested to stop before the end.

    Raises:
        FloatingPointError: The loss is NaN or infinite, or has diverged.
        RunError: There are checkpoints, and none of them verifies; or the trunk's does not.
        SupersededError: Another process has taken the task over.
        BadInput: A writer of the training is not installed.
    """
    writers.check(spec.training.writers)
    with LinkRecorder(folder, world) as link:
        return _train(spec, folder, world, stop, link)


def _train(
    spec: TrainSpec, folder: TaskFolder, world: World, stop: Stop, link: LinkRecorder
) -> Trained | None:
    training = spec.training
    trained, total = parameters(spec.model)
    engine = Engine(spec.model, training, world, spec.scales)
    claims.follow(folder.claim, engine.all_reduce_max(claims.number_of(folder.claim)))
    seen = engine.resume(folder.checkpoints, spec.start)
    end = training.steps * training.batch_events
    last: dict[str, float] = {}
    batches = spec.batches(world, seen)
    validation = Validation.of(spec, world)
    saving = Saving(training, this_link(), spec.kept)
    divergence = _divergence(engine, training, folder, seen)
    speed = Speed.of(training, spec.flops_per_point, world)
    profile = Profile(folder.profile, world.profile_steps if world.is_first else 0)
    with Metrics(folder, world, training, seen=seen, speed=speed) as metrics, profile:
        while seen < end:
            after = seen + training.batch_events
            wanted = partial(_wanted, saving, after, stop)
            last = _step(engine, spec, batches, seen, wanted)
            action, seen = Action(int(last.pop("wanted"))), after
            stop.watch.beat(seen // training.batch_events)
            divergence.check(seen // training.batch_events, last["loss"])
            saving.stepped(last["seconds"])
            link.step(training.batch_events, last["seconds"])
            _check_claim(action, folder)
            stop.watch.expect_long(action != Action.GO_ON)
            if action != Action.GO_ON and validation is not None:
                with part("validation"):
                    last |= _validated(validation.loss(engine), seen, world)
                stop.watch.beat()
            with part("metrics"):
                metrics.write(seen // training.batch_events, seen, last)
            if action != Action.GO_ON:
                metrics.flush()
                with part("saving"), link.saving():
                    _save(engine, spec, folder, saving, seen, last)
                stop.watch.beat()
            profile.step()
            if action == Action.STOP and seen < end:
                engine.leave()
                link.leave()
                return None
        last = last or metrics.last()
    best = _best(folder, validation)
    digest = _exported(engine, spec, folder, best)
    return Trained(
        **best,
        events_seen=seen,
        steps=training.steps,
        loss=last["loss"],
        parameters=total,
        parameters_trained=trained,
        weights=WEIGHTS,
        weights_sha256=digest,
        weights_are=_kind(spec),
        processes=world.size,
        device=world.device.type,
    )


def _exported(engine: Engine, spec: TrainSpec, folder: TaskFolder, best: Mapping[str, Any]) -> str:
    """Write the weights, or those of the best checkpoint; return their SHA-256."""
    if spec.takes_best:
        engine.load(folder.checkpoints, best["best_checkpoint"])
    digest = engine.export(folder.path / WEIGHTS, spec.metadata)
    engine.leave()
    return digest


def _wanted(saving: Saving, seen: int, stop: Stop) -> Action:
    """Return what this process wants to do after `seen` events."""
    return saving.action(seen, stop=stop.requested)


def _check_claim(action: Action, folder: TaskFolder) -> None:
    """End here if the first process has lost its claim; all processes do so together.

    Raises:
        SupersededError: It has.
    """
    if action == Action.LEAVE:
        message = f"{folder.path}: another process has taken over. It ends here."
        raise SupersededError(message)


def _validated(loss: float, seen: int, world: World) -> dict[str, float]:
    """Return the entry of a validation loss; none if it is not finite, so that it is never best."""
    if math.isfinite(loss):
        return {checkpoint.VALIDATION_LOSS: loss}
    if world.is_first:
        print(
            f"The validation loss is {loss} after {seen} events: never the best.", file=sys.stderr
        )
    return {}


def _divergence(engine: Engine, training: Training, folder: TaskFolder, seen: int) -> Divergence:
    """Return the guard of the loss, with the steps of earlier links; all processes call this."""
    past = recorded(folder.metrics, seen // training.batch_events)
    engine.all_reduce_max(Action.GO_ON)  # all must read before the first process writes
    return Divergence(training.diverged_steps, past)


def _save(
    engine: Engine,
    spec: TrainSpec,
    folder: TaskFolder,
    saving: Saving,
    seen: int,
    last: Mapping[str, float],
) -> None:
    """Write a checkpoint and measure how long it took."""
    began = time.monotonic()
    name = checkpoint.VALIDATION_LOSS
    extra = {name: last[name]} if name in last else {}
    engine.save(folder.checkpoints, seen, spec.kept, extra)
    saving.saved(time.monotonic() - began)


def _kind(spec: TrainSpec) -> str:
    """Return which weights are exported: "last", "best", "ema" or "best ema"."""
    kinds = ["best"] * spec.takes_best + ["ema"] * bool(spec.training.ema_events)
    return " ".join(kinds) or "last"


def _best(folder: TaskFolder, validation: Validation | None) -> dict[str, Any]:
    """Return the entries of the result on the checkpoint of lowest validation loss, if any.

    Raises:
        FloatingPointError: There is a validation, and none of its losses was finite.
    """
    best = checkpoint.best(folder.checkpoints)
    if best is None and validation is not None:
        message = (
            f"No validation loss was finite, on {len(validation.events)} events at each "
            "checkpoint, though the losses of the training were. Look for events in the validation "
            "split that the model cannot take; lower the rate; this is not retried."
        )
        raise FloatingPointError(message)
    if best is None:
        return {}
    loss = checkpoint.recorded(best, checkpoint.VALIDATION_LOSS)
    return {"best_checkpoint": best.name, "best_validation_loss": loss}


def parameters(module: nn.Module) -> tuple[int, int]:
    """Return the number of trainable and of all parameters of `module`."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def _step(
    engine: Engine,
    spec: TrainSpec,
    batches: Iterator[list[MicroBatch]],
    seen: int,
    wanted: Callable[[], Action],
) -> dict[str, float]:
    """Train on this process's share of the batch that starts at `seen`; return the metrics."""
    began = time.monotonic()
    with part("data wait"):
        micro_batches = next(batches)
    share = factor(spec.training, seen)
    rate = share * spec.training.learning_rate
    waited = time.monotonic() - began
    beta = first_beta(spec.training, seen)
    begin_step(spec.seed, seen // spec.training.batch_events, engine.world.rank)
    metrics = engine.step(micro_batches, spec.objective, share, beta, wanted)
    # A gradient that is not finite spoils the weights, which must not reach a checkpoint.
    for name, key in (("loss", "loss"), ("gradient norm", "grad_norm")):
        if not math.isfinite(metrics.get(key, 0.0)):
            events = [event for each in micro_batches for event in each.batch.event_id.tolist()]
            message = (
                f"The {name} is {metrics[key]} after {seen} events (events {events}, "
                f"learning rate {rate:.3g}). Lower the rate or clip_norm; this is not retried. "
                f"Where events come from: cosmotron data locate {spec.events.path} ID"
            )
            raise FloatingPointError(message)
    seconds = time.monotonic() - began
    return metrics | {"lr": rate, "seconds": seconds, "data_seconds": waited}
