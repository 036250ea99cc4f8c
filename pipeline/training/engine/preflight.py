"""What only a job can see of a machine: collectives, a step of DeepSpeed."""

import time
from typing import Any

import torch

from pipeline.training.engine.backend import initialize
from pipeline.training.engine.engine import World, join

MEGABYTE = 2**20
REPEATS = 5
WIDTH = 256


def joined(world: World) -> float:
    """Join the other processes; return how many seconds that took."""
    began = time.monotonic()
    join(world)
    return time.monotonic() - began


def all_reduce(world: World, megabytes: int) -> dict[str, float]:
    """Return what an all-reduce over all processes reaches.

    The bus bandwidth is 2 (n - 1) / n × bytes / seconds, which for n processes is to be compared
    with the slowest link (NVIDIA nccl-tests, doc/PERFORMANCE.md); the fastest repeat counts.
    """
    tensor = torch.ones(megabytes * MEGABYTE // 4, device=world.device)
    seconds = min(_seconds(world, tensor) for _ in range(REPEATS))
    small = min(_seconds(world, tensor[:1]) for _ in range(REPEATS))
    moved = 2 * (world.size - 1) / world.size * megabytes * MEGABYTE
    return {"gb_per_s": moved / seconds / 1e9, "latency_us": 1e6 * small}


def _seconds(world: World, tensor: torch.Tensor) -> float:
    torch.distributed.barrier()
    _wait(world)
    began = time.perf_counter()
    torch.distributed.all_reduce(tensor)
    _wait(world)
    return time.perf_counter() - began


def _wait(world: World) -> None:
    if world.device.type == "cuda":
        torch.cuda.synchronize()


def step(world: World) -> float:
    """Take one step of a small model under DeepSpeed with ZeRO 1; return its loss."""
    torch.manual_seed(1)
    model = torch.nn.Linear(WIDTH, WIDTH)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 8,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
        "zero_optimization": {"stage": 1},
    }
    engine = initialize(model=model, model_parameters=model.parameters(), config=config)
    loss = engine(torch.ones(8, WIDTH, device=world.device)).square().mean()
    engine.backward(loss)
    engine.step()
    return float(loss)
