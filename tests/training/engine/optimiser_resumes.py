"""One rank of test_optimiser_resumes: every optimiser under every ZeRO stage, resumed and not."""

import json
import math
import sys
from pathlib import Path

import torch
from made_batches import MODEL, batch, part
from ranks import training

from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours_per_event
from pipeline.nn.batch import MicroBatch
from pipeline.nn.losses import only
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.engine.optimisers import Scale
from pipeline.training.programs.program import leave

STEPS, HALF, BATCH_EVENTS, EMA_EVENTS = 14, 7, 4, 20
OBJECTIVE = only(neighbours_per_event)
KINDS = {
    "adamw": {},
    "lion": {"optimiser": "lion"},
    "ranger": {"optimiser": "ranger"},
    "amsgrad": {"amsgrad": True, "clip_norm": 0.0, "clip_value": 1e-3},
}
EVERY = [
    *((kind, zero, "fp32") for kind in KINDS for zero in (0, 1, 2, 3)),
    ("adamw", 1, "bf16"),
    ("ranger", 2, "bf16"),
]
# One matrix and one vector have rates of their own, as under a parametrisation.
SCALES = {
    "backbone.layers.0.mixer.lin_B.weight": Scale(rate=0.25, decay=4.0),
    "backbone.layers.1.mixer.A_log": Scale(rate=3.0),
}


def engine_of(asked, world):
    """An engine of the same fresh model."""
    torch.manual_seed(1)
    return Engine(NeighbourPredictor(MODEL), asked, world, SCALES)


def factor(step):
    """A schedule that moves at every step."""
    return 1 - step / (2 * STEPS)


def rates(engine):
    """The rate of each group, as DeepSpeed has it."""
    return [group["lr"] for group in engine.engine.optimizer.param_groups]


def mean_after(mean, engine):
    """The mean of the weights, in double precision, by its recurrence."""
    kept = math.exp(-BATCH_EVENTS / EMA_EVENTS)
    weights = {n: p.detach().double() for n, p in engine.engine.module.named_parameters()}
    return {n: kept * mean.get(n, w) + (1 - kept) * w for n, w in weights.items()}


def main(folder: Path) -> None:
    """Train each without and with a resume half way; the first rank writes what came out."""
    torch.set_num_threads(1)
    world = World()
    join(world)
    whole = batch([5, 30, 1, 9])
    share = len(whole.sizes) // world.size
    own = part(whole, range(world.rank * share, (world.rank + 1) * share))
    told = {}
    for kind, zero, precision in EVERY:
        ema = 0 if zero == 3 else EMA_EVENTS
        asked = training(**KINDS[kind], zero=zero, precision=precision, ema_events=ema)
        name = f"{kind}-{zero}-{precision}"
        engine = engine_of(asked, world)
        mean, last = mean_after({}, engine), {}
        for n in range(STEPS):
            last = engine.step([MicroBatch(own)], OBJECTIVE, factor(n))
            if ema:
                mean = mean_after(mean, engine)
        straight = engine.export(folder / f"{name}.safetensors")
        if world.is_first:
            torch.save(mean, folder / f"{name}-mean.pt")
        first = engine_of(asked, world)
        for n in range(HALF):
            first.step([MicroBatch(own)], OBJECTIVE, factor(n))
        first.save(folder / name, BATCH_EVENTS * HALF)
        second = engine_of(asked, world)
        seen = second.resume(folder / name)
        for n in range(HALF, STEPS):
            second.step([MicroBatch(own)], OBJECTIVE, factor(n))
        told[name] = {
            "seen": seen,
            "loss": last["loss"],
            "straight": straight,
            "resumed": second.export(folder / f"{name}-resumed.safetensors"),
            "own_rates": second.rates,
            "rates": rates(second),
            "factor": factor(STEPS - 1),
        }
    if world.is_first:
        (folder / "told.json").write_text(json.dumps(told))
    engine.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
