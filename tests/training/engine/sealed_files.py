"""One rank of test_state_files: save a checkpoint; tell which files this process hashed."""

import json
import sys
from pathlib import Path

import torch
from made_batches import MODEL
from ranks import training

from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.training.engine import checkpoint
from pipeline.training.engine.engine import Engine, World, join
from pipeline.training.programs.program import leave


def main(folder: Path) -> None:
    """Save under ZeRO 2; write what this process wrote itself, and what it read back."""
    torch.set_num_threads(1)
    world = World()
    join(world)
    read_back = []
    real = checkpoint.file_hash

    def file_hash(path: Path) -> str:
        read_back.append(path.name)
        return real(path)

    checkpoint.file_hash = file_hash
    engine = Engine(NeighbourPredictor(MODEL), training(zero=2, ema_events=20), world)
    engine.save(folder / "checkpoints", 4)
    told = {"wrote": sorted(path.name for path in engine.files.hashes), "read": sorted(read_back)}
    (folder / f"rank-{world.rank}.json").write_text(json.dumps(told))
    engine.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
