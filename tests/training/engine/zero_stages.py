"""One rank of test_engine: train the same model with every ZeRO stage; tell what came out."""

import json
import sys
from pathlib import Path

import torch
from made_batches import MODEL, batch, part
from ranks import training
from synchronisations import counted

from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours_per_event
from pipeline.nn.batch import MicroBatch
from pipeline.nn.losses import only
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.programs.program import leave

STEPS = 3
COMPILERS = ("torch._inductor.compile_fx", "torch._dynamo")


def main(folder: Path) -> None:
    """Train with stages 0 to 3, one after the other; the first rank writes a JSON file."""
    torch.set_num_threads(1)
    world = World()
    join(world)
    whole = batch([5, 30, 1, 9])
    share = len(whole.sizes) // world.size
    own = part(whole, range(world.rank * share, (world.rank + 1) * share))
    told, engines = {}, {}
    for stage in (0, 1, 2, 3):
        torch.manual_seed(1)
        engine = Engine(NeighbourPredictor(MODEL), training(zero=stage), world)
        numbers = [
            engine.step([MicroBatch(own)], only(neighbours_per_event), 10.0) for _ in range(STEPS)
        ]
        weights = folder / f"zero{stage}-of-{world.size}.safetensors"
        told[stage] = {"numbers": numbers, "sha256": engine.export(weights)}
        told[stage]["largest"] = [engine.all_reduce_max(world.rank), engine.all_reduce_max(0)]
        told[stage]["compiler"] = [name for name in COMPILERS if name in sys.modules]
        engines[stage] = engine
    for stage, engine in engines.items():  # last, for what counts loads a compiler
        with counted() as waits:
            last = engine.step(
                [MicroBatch(own)], only(neighbours_per_event), 0.0, wanted=lambda: world.rank
            )
        told[stage] |= {"wanted": last["wanted"], "waits": dict(waits)}
    if world.is_first:
        (folder / f"told-{world.size}.json").write_text(json.dumps(told))
    engine.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
