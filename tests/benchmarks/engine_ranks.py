"""One rank of the engine's benchmark: our engine's steps and a plain DDP loop's, in turn."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.campaign import Training
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours_per_event
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn.batch import Batch, MicroBatch
from pipeline.nn.losses import only
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.programs.program import leave

BATCH_EVENTS, STEPS = 8, 2
# Points an event: as a simulated pp collision has in the quickstart, 700 in the mean.
FEWEST, MOST = 350, 1050
OBJECTIVE = only(neighbours_per_event)
MODELS = {
    "m0": FM4NPPMamba2(width=64, layers=4, neighbours=8),
    "wide": FM4NPPMamba2(width=128, layers=4, neighbours=8),
}
Step = Callable[[], object]


def asked(zero: int) -> Training:
    """Return how both sides train."""
    return Training(
        events_seen=1_000_000,
        batch_events=BATCH_EVENTS,
        learning_rate=2e-3,
        checkpoint_events=1_000_000,
        zero=zero,
        devices=1,
        walltime_minutes=1,
    )


def share(world: World) -> Batch:
    """Return this rank's events of the one batch that is trained on."""
    made = torch.Generator().manual_seed(1)
    sizes = torch.randint(FEWEST, MOST, (BATCH_EVENTS,), generator=made)[world.rank :: world.size]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    points = torch.rand(int(offsets[-1]), 4, generator=made)
    ends = offsets[1:].repeat_interleave(sizes) - offsets[:-1].repeat_interleave(sizes)
    place = torch.cat([torch.arange(int(size)) for size in sizes])
    neighbours = place[:, None] + torch.arange(1, 9)
    per_point = {"neighbours": neighbours.where(neighbours < ends[:, None], -1)}
    return Batch(points, offsets, torch.arange(len(sizes)), per_point)


def ours(model: nn.Module, batch: Batch, world: World, zero: int) -> Step:
    """Return a step of our engine, with what the training loop asks of it."""
    engine, several = Engine(model, asked(zero), world), [MicroBatch(batch)]

    def step() -> None:
        engine.step(several, OBJECTIVE, 1.0)
        engine.all_reduce_max(0)

    return step


def plain(model: nn.Module, batch: Batch, *, fused: bool) -> Step:
    """Return the step of a loop as people write it."""
    training, parallel = asked(0), DistributedDataParallel(model)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, betas=training.betas, fused=fused
    )

    def step() -> None:
        loss, _ = OBJECTIVE(parallel(batch), batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


def sides(name: str, world: World) -> dict[str, Step]:
    """Return a step of every side, each of the same fresh model."""

    def fresh() -> nn.Module:
        torch.manual_seed(1)
        return NeighbourPredictor(MODELS[name])

    batch = share(world)
    found = {f"ZeRO {zero}": ours(fresh(), batch, world, zero) for zero in (0, 1)}
    found["DDP"] = plain(fresh(), batch, fused=False)
    found["DDP, fused"] = plain(fresh(), batch, fused=True)
    return found


def seconds(step: Step) -> float:
    """Return what one of a few steps takes, once all ranks are ready."""
    torch.distributed.barrier()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    """Take turns; the first rank writes the seconds a step of every round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--profile", metavar="SIDE", default="")
    told = parser.parse_args()
    torch.set_num_threads(1)
    world = World()
    join(world)
    steps = sides(told.model, world)
    for step in steps.values():
        seconds(step)
    if told.profile:
        with torch.profiler.profile() as profiler:
            seconds(steps[told.profile])
        if world.is_first:
            print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
    rounds = [{name: seconds(step) for name, step in steps.items()} for _ in range(told.rounds)]
    if world.is_first:
        told.file.write_text(json.dumps(rounds))
        for name in steps:
            print(name, f"{1e3 * statistics.median(each[name] for each in rounds):.2f} ms")
    torch.distributed.barrier()
    leave(0)


if __name__ == "__main__":
    main()
