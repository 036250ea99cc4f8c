"""One rank of `tests/equality.py`: train every objective in a setting; write the weights.

`equality_ranks.py FOLDER SETTING LINK CASE…` goes on where link LINK - 1 was killed.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from equality import LINK_STEPS, SETTINGS, Setting
from every_objective import ALONE_AND_TOGETHER, EVENTS, Case
from made_batches import part
from ranks import training

from pipeline.campaign import Training
from pipeline.nn.batch import MicroBatch
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.programs.program import leave
from pipeline.training.steps.micro_batches import micro_batches


def declared(setting: Setting, link: int) -> Training:
    """The training of one link; without AdamW's ε, noise would be steps where gradients are 0."""
    return training(
        batch_events=EVENTS,
        micro_events=setting.micro_events,
        zero=setting.zero[link],
        learning_rate=1e-2,
        epsilon=1e-2,
        devices=1,
    )


def own(case: Case, step: int, asked: Training, world: World) -> list[MicroBatch]:
    """This rank's micro-batches of the batch of a step, dealt by lanes of one event."""
    whole, dealt = case.batch(step), list(range(world.rank, EVENTS, world.size))
    return [
        MicroBatch(part(whole, dealt[each.start : each.stop]), each.weight)
        for each in micro_batches(asked, world.rank, world.size)
    ]


def train(case: Case, folder: Path, setting: Setting, link: int, world: World) -> None:
    """Take the steps of a link; one more after the checkpoint, which is lost, if it is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    asked, system = declared(setting, link), case.system()
    engine = Engine(system.module, asked, world)
    first = engine.resume(folder / "checkpoints") // EVENTS
    last = first + LINK_STEPS[len(setting.ranks)]
    for step in range(first, last):
        engine.step(own(case, step, asked, world), system.objective, 1.0)
    if link < len(setting.ranks) - 1:
        engine.save(folder / "checkpoints", EVENTS * last)
        engine.step(own(case, last, asked, world), system.objective, 1.0)
    else:
        engine.export(folder / "weights.safetensors")


def main(folder: Path, name: str, link: int, names: list[str]) -> None:
    """Train the cases one after the other; all but the last link end by a kill."""
    torch.set_num_threads(1)
    world, setting = World(), SETTINGS[name]
    join(world)
    for number, case in enumerate(names):
        print(f"{case} in {name}\n", end="", flush=True)
        train(ALONE_AND_TOGETHER[case], folder / name / str(number), setting, link, world)
    torch.distributed.barrier()
    if link < len(setting.ranks) - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    leave(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
