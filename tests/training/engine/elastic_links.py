"""One rank of test_elastic: a link of many trainings, each at its own ZeRO stage; tell the losses.

`elastic_links.py FOLDER LINK` goes on with all of them where link LINK - 1 stopped.
"""

import json
import sys
from pathlib import Path

import torch
from made_batches import MODEL, batch, part
from ranks import training

from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours, neighbours_per_event
from pipeline.nn.batch import MicroBatch
from pipeline.nn.losses import WeightedSum
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.engine.optimisers import Scale
from pipeline.training.programs.program import leave
from pipeline.training.steps.micro_batches import micro_batches

STEPS, LINKS, BATCH_EVENTS = 3, 3, 8
SIZES = (2, 1, 4)
SAME, CHANGED = ("000", "111", "222", "333"), ("130", "302", "021", "213")
PATHS = [
    *(("adamw", "fp32", stages) for stages in (*SAME, *CHANGED)),
    *((kind, "fp32", stages) for kind in ("lion", "ranger") for stages in ("130", "021")),
    *(("adamw", "bf16", stages) for stages in ("130", "021")),
    ("ranger", "bf16", "302"),
]
REFERENCES = [
    *((kind, "fp32", "0") for kind in ("adamw", "lion", "ranger")),
    *((kind, "bf16", "1") for kind in ("adamw", "ranger")),
]
# A mean over all neighbours of the batch, and one over its events.
OBJECTIVE = WeightedSum([(neighbours, 1.0), (neighbours_per_event, 0.5)])
SCALES = {"backbone.layers.1.mixer.A_log": Scale(rate=3.0)}


def asked(kind: str, precision: str, stage: str, **changes):
    """A training of one link."""
    return training(
        batch_events=BATCH_EVENTS, optimiser=kind, precision=precision, zero=int(stage), **changes
    )


def engine_of(declared, world):
    """An engine of the same fresh model."""
    torch.manual_seed(1)
    return Engine(NeighbourPredictor(MODEL), declared, world, SCALES)


def own(step, declared, world):
    """This rank's micro-batches of the batch of a step, dealt by lanes of one event."""
    sizes = torch.randint(1, 25, (BATCH_EVENTS,), generator=torch.Generator().manual_seed(step))
    whole = batch(sizes.tolist(), seed=step)
    dealt = list(range(world.rank, BATCH_EVENTS, world.size))
    return [
        MicroBatch(part(whole, dealt[each.start : each.stop]), each.weight)
        for each in micro_batches(declared, world.rank, world.size)
    ]


def steps(engine, declared, first, last):
    """What is told of each step, with the rates that it had."""
    told = []
    for step in range(first, last):
        numbers = engine.step(own(step, declared, engine.world), OBJECTIVE, 1 - step / 24)
        rates = [group["lr"] for group in engine.engine.optimizer.param_groups]
        told.append(numbers | {"rates": rates})
    return told


def link(folder, number, world):
    """Go on with every training; return its steps, and the weights before and after."""
    told = {}
    for kind, precision, stages in PATHS:
        name = f"{kind}-{precision}-{stages}"
        ema = 0 if "3" in stages else 100
        declared = asked(kind, precision, stages[number], ema_events=ema)
        engine = engine_of(declared, world)
        seen = engine.resume(folder / name)
        begun = engine.export(folder / "begun.pt")
        counted = engine.engine.global_steps
        first = number * STEPS
        done = steps(engine, declared, first, first + STEPS)
        engine.save(folder / name, BATCH_EVENTS * (first + STEPS))
        ended = engine.export(folder / f"{name}.pt")
        told[name] = {
            "seen": seen,
            "counted": counted,
            "steps": done,
            "begun": begun,
            "ended": ended,
            "next": float(torch.rand(())),
        }
    return told


def uninterrupted(world):
    """The steps of trainings that nothing interrupts."""
    told = {}
    for kind, precision, stage in REFERENCES:
        declared = asked(kind, precision, stage)
        told[f"{kind}-{precision}"] = steps(engine_of(declared, world), declared, 0, LINKS * STEPS)
    return told


def accumulated(world):
    """The steps of trainings that take one event forward at once, and keep no activations."""
    told = {}
    for stage in "0123":
        declared = asked("adamw", "fp32", stage, micro_events=1, activation_checkpointing=True)
        told[stage] = steps(engine_of(declared, world), declared, 0, STEPS)
    return told


def main(folder: Path, number: int) -> None:
    """Run one link; its first rank writes a JSON file."""
    torch.set_num_threads(1)
    world = World()
    join(world)
    told = {"links": link(folder, number, world)}
    if world.size == 1:
        told["uninterrupted"] = uninterrupted(world)
    if world.size == 2:
        told["accumulated"] = accumulated(world)
    if world.is_first:
        (folder / f"told-{number}.json").write_text(json.dumps(told))
    torch.distributed.barrier()
    leave(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
