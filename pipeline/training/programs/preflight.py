"""The program of `cosmotron sites check --job`: each process writes what it sees of its machine."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch

from pipeline.job import VISIBLE
from pipeline.training.engine.engine import World
from pipeline.training.engine.preflight import MEGABYTE, all_reduce, joined, step
from pipeline.training.programs.program import leave
from pipeline.writing import write_json

REDUCED_MEGABYTES = 64
WRITTEN_MEGABYTES = 256


def seen(folder: Path) -> dict[str, Any]:
    """Return what this process sees, measured together with all others."""
    os.environ.setdefault("NCCL_DEBUG", "INFO")
    os.environ.setdefault("NCCL_DEBUG_FILE", str(folder / "nccl.%h.%p.log"))
    world = World()
    join_seconds = joined(world)
    clock = time.time()
    return {
        "rank": world.rank,
        "size": world.size,
        "local_rank": world.local_rank,
        "host": socket.gethostname(),
        "clock": clock,
        "join_seconds": join_seconds,
        "device": world.device.type,
        "devices_visible": torch.cuda.device_count(),
        "device_uuid": _uuid(world),
        "visible": {name: os.environ[name] for name in VISIBLE if name in os.environ},
        "cpus": sorted(os.sched_getaffinity(0)),
        "all_reduce": all_reduce(world, REDUCED_MEGABYTES),
        "step_loss": step(world),
        "scratch": scratch(folder, world.rank, WRITTEN_MEGABYTES),
    }


def scratch(folder: Path, rank: int, megabytes: int) -> dict[str, float]:
    """Return at which rates this process writes a file (until it is on disk) and reads it back.

    What was just written may be read from memory: the page cache is asked to let go of it first.
    """
    path = folder / f"written-{rank}"
    block = os.urandom(MEGABYTE)
    try:
        began = time.perf_counter()
        with path.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        written = time.perf_counter()
        with path.open("rb", buffering=0) as stream:
            while stream.read(8 * MEGABYTE):
                continue
        read = time.perf_counter()
    finally:
        path.unlink(missing_ok=True)
    size = megabytes * MEGABYTE / 1e9
    return {"write_gb_per_s": size / (written - began), "read_gb_per_s": size / (read - written)}


def _uuid(world: World) -> str:
    """Return the name that no two GPUs share, empty on a CPU."""
    if world.device.type != "cuda":
        return ""
    return str(torch.cuda.get_device_properties(world.device).uuid)


def main(path: str) -> None:
    """Look, and write `rank-<r>.json` into the folder."""
    folder = Path(path)
    record = seen(folder)
    write_json(folder / f"rank-{record['rank']}.json", record)


if __name__ == "__main__":
    main(sys.argv[1])
    leave(0)
