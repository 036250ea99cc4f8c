"""Measure the memory of a step of each ZeRO stage: the most bytes, and those left, per parameter.

Run by test_memory_of_stages.py in a process of its own; prints a line of JSON for each.
"""

import gc
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from made_batches import batch
from memory.counting import changes
from ranks import training

from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn import systems
from pipeline.nn.batch import MicroBatch
from pipeline.training.engine.engine import Engine, World, join

MODEL = FM4NPPMamba2(width=256, layers=2, neighbours=4)
STEPS = 3  # the first makes the optimiser's states, the second has all of them


def measured(precision: str, zero: int) -> float:
    """Return the most bytes per trained parameter at any time of three steps with two points."""
    gc.collect()  # an engine of before would be freed while this one is measured
    torch.manual_seed(0)
    made: list[object] = []
    asked = training(zero=zero, precision=precision, batch_events=1, devices=1)

    def run() -> None:
        system = systems.build(MODEL, None)
        engine = Engine(system.module, asked, World())
        for _ in range(STEPS):
            engine.step([MicroBatch(batch([2], neighbours=4))], system.objective, 1.0)
        made.append(engine)

    return max(changes(run)) / MODEL.parameters().trained


if __name__ == "__main__":
    join(World())
    for precision in ("fp32", "bf16"):
        for zero in (0, 1, 2):
            print(json.dumps([precision, zero, measured(precision, zero)]), flush=True)
