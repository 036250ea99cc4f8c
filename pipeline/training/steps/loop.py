"""The training loop of every program: step, measure, checkpoint, stop when asked, resume."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.campaign import Training, Trunk
from pipeline.job import batch_job_id
from pipeline.nn.batch import MicroBatch
from pipeline.nn.losses import WeightedSum
from pipeline.run import Exit, TaskFolder
from pipeline.training.engine import checkpoint
from pipeline.training.engine.engine import Engine, World
from pipeline.training.engine.optimisers import Scale
from pipeline.training.engine.profiling import Profile, part
from pipeline.training.link.here import this_link
from pipeline.training.link.record import LinkRecord
from pipeline.training.loader import Source
from pipeline.training.programs.program import Stop
from pipeline.training.steps import writers
from pipeline.training.steps.divergence import Divergence, recorded
from pipeline.training.steps.metrics import Metrics, Speed
from pipeline.training.steps.saving import Saving, Wish
from pipeline.training.steps.schedule import factor
from pipeline.training.steps.validation import Validation
from pipeline.training.weights import WEIGHTS


@dataclass(frozen=True)
class Work:
    """What one training needs; `seed` sets the order in which the events are visited.

    `scales` are of the parameters that have a rate of their own. A training may begin at a
    checkpoint of its `trunk`, and keep its own `branch_points` for others to begin at. At each
    checkpoint the loss on the events of `validation` is told; `takes_best` makes the weights where
    it is lowest the result. `told` is what else the result says,
    `about` what the file of weights does; `flops_per_point` are those of forward and backward, if
    known.
    """

    model: nn.Module
    objective: WeightedSum
    events: Source
    seed: int
    training: Training
    validation: Source | None = None
    takes_best: bool = False
    scales: Mapping[str, Scale] = field(default_factory=dict)
    trunk: Trunk | None = None
    branch_points: tuple[int, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    flops_per_point: float | None = None

    @property
    def beginning(self) -> tuple[Path, int] | None:
        """The checkpoints of the trunk, and the events seen of the one to begin at."""
        if self.trunk is None:
            return None
        return TaskFolder(self.trunk.folder).checkpoints, self.trunk.events_seen

    def batches(self, world: World, seen: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's share of each batch, from where all have `seen` events on."""
        return self.events.batches(
            self.training, self.seed, rank=world.rank, ranks=world.size, seen=seen
        )


def carry_out(work: Work, folder: TaskFolder, world: World, stop: Stop) -> Exit:
    """Train, record the result and mark the task done; or leave it to be continued."""
    result = train(work, folder, world, stop)
    if result is None:
        return Exit.CONTINUE
    if world.is_first:
        events = min(work.events.count, result["events_seen"])
        folder.finish(result | {"job_id": batch_job_id(), "events": events, **work.told})
    return Exit.FINISHED


def train(work: Work, folder: TaskFolder, world: World, stop: Stop) -> dict[str, Any] | None:
    """Train to the end, from the newest checkpoint on; return the numbers of the result.

    Returns None when asked to stop before the end: checkpointed, to be continued.

    Raises:
        FloatingPointError: The loss is no number any more, or has diverged.
        RunError: There are checkpoints, and none of them verifies; or not that of the trunk.
        BadInput: A writer that the training asks for is not installed.
    """
    writers.check(work.training.writers)
    with LinkRecord(folder, world) as link:
        return _train(work, folder, world, stop, link)


def _train(
    work: Work, folder: TaskFolder, world: World, stop: Stop, link: LinkRecord
) -> dict[str, Any] | None:
    training = work.training
    trained, total = parameters(work.model)
    engine = Engine(work.model, training, world, work.scales)
    seen = engine.resume(folder.checkpoints, work.beginning)
    end = training.steps * training.batch_events
    last: dict[str, float] = {}
    batches = work.batches(world, seen)
    validation = Validation.of(work, world)
    saving = Saving(training, this_link(), work.branch_points)
    divergence = _divergence(engine, training, folder, seen)
    speed = Speed.of(training, work.flops_per_point, world)
    profile = Profile(folder.profile, world.profile_steps if world.is_first else 0)
    with Metrics(folder, world, training, seen=seen, speed=speed) as metrics, profile:
        while seen < end:
            last = _step(engine, work, batches, seen)
            seen += training.batch_events
            stop.watch.beat(seen // training.batch_events)
            divergence.check(seen // training.batch_events, last["loss"])
            saving.stepped(last["seconds"])
            link.step(training.batch_events, last["seconds"])
            wish = engine.strongest(saving.wish(seen, asked=stop.asked))
            if wish != Wish.GO_ON and validation is not None:
                with part("validation"):
                    last |= {checkpoint.VALIDATION_LOSS: validation.loss(engine)}
                stop.watch.beat()
            with part("telling"):
                metrics.write(seen // training.batch_events, seen, last)
            if wish != Wish.GO_ON:
                metrics.flush()
                with part("saving"), link.saving():
                    _save(engine, work, folder, saving, seen, last)
                stop.watch.beat()
            profile.step()
            if wish == Wish.STOP and seen < end:
                engine.leave()
                link.leave()
                return None
        last = last or metrics.last()
    best = _best(folder)
    if work.takes_best and best:
        engine.take(folder.checkpoints, best["best_checkpoint"])
    digest = engine.export(folder.path / WEIGHTS, work.about)
    engine.leave()
    return {
        **best,
        "events_seen": seen,
        "steps": training.steps,
        "loss": last["loss"],
        "parameters": total,
        "parameters_trained": trained,
        "weights": WEIGHTS,
        "weights_sha256": digest,
        "weights_are": _kind(work),
        "processes": world.size,
        "device": world.device.type,
    }


def _divergence(engine: Engine, training: Training, folder: TaskFolder, seen: int) -> Divergence:
    """Return the guard of the loss, which knows the steps of earlier links; all must ask."""
    past = recorded(folder.metrics, seen // training.batch_events)
    engine.strongest(Wish.GO_ON)  # all have read before the first process writes
    return Divergence(training.diverged_steps, past)


def _save(
    engine: Engine,
    work: Work,
    folder: TaskFolder,
    saving: Saving,
    seen: int,
    last: Mapping[str, float],
) -> None:
    """Write a checkpoint, and note how long it took."""
    began = time.monotonic()
    name = checkpoint.VALIDATION_LOSS
    told = {name: last[name]} if name in last else {}
    engine.save(folder.checkpoints, seen, work.branch_points, told)
    saving.saved(time.monotonic() - began)


def _kind(work: Work) -> str:
    """Return what the exported weights are: the last, the best, a mean, or the mean then."""
    kinds = ["best"] * work.takes_best + ["average"] * (work.training.ema_events is not None)
    return " ".join(kinds) or "last"


def _best(folder: TaskFolder) -> dict[str, Any]:
    """Return which checkpoint was best by validation, for the result; nothing without one."""
    best = checkpoint.best(folder.checkpoints)
    if best is None:
        return {}
    loss = checkpoint.told(best, checkpoint.VALIDATION_LOSS)
    return {"best_checkpoint": best.name, "best_validation_loss": loss}


def parameters(module: nn.Module) -> tuple[int, int]:
    """Return the number of trainable and of all parameters of `module`."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def _step(
    engine: Engine, work: Work, batches: Iterator[list[MicroBatch]], seen: int
) -> dict[str, float]:
    """Take this process's share of the batch that starts at `seen`; return its numbers."""
    began = time.monotonic()
    with part("data wait"):
        several = next(batches)
    share = factor(work.training, seen)
    rate = share * work.training.learning_rate
    waited = time.monotonic() - began
    numbers = engine.step(several, work.objective, share)
    # Gradients that are no numbers make weights that are none, which a checkpoint must not hold.
    for name, told in (("loss", "loss"), ("gradient norm", "grad_norm")):
        if not math.isfinite(numbers.get(told, 0.0)):
            events = [event for each in several for event in each.batch.event_id.tolist()]
            message = (
                f"The {name} is {numbers[told]} after {seen} events (events {events}, "
                f"learning rate {rate:.3g}). Lower the rate or clip_norm; this is not retried."
            )
            raise FloatingPointError(message)
    seconds = time.monotonic() - began
    return numbers | {"lr": rate, "seconds": seconds, "data_seconds": waited}
