"""DeepSpeed under the training loop: the only file that knows it, or torch.distributed."""

import hashlib
import os
import random
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.campaign import Training
from pipeline.training import checkpoint
from pipeline.training.average import Average
from pipeline.training.batch import Batch
from pipeline.training.objectives import WeightedSum
from pipeline.training.optimisers import Scale, groups, optimiser
from pipeline.training.profiling import part
from pipeline.training.weights import save

STATE = "state"
AVERAGE = "average.pt"


class World:
    """The processes of this link, as the batch script numbered them.

    `profile_steps` of the training are traced, if the command line says so.
    """

    profile_steps = 0

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():  # ROCm devices answer to this name too
            self.device = torch.device("cuda", self.local_rank)
            torch.cuda.set_device(self.device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


def join(world: World) -> None:
    """Join the other processes; a lone process is a world of one."""
    defaults = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    defaults |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if world.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    # torch announces its new names for collectives at each call that DeepSpeed makes
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    _deepspeed().init_distributed(
        dist_backend="gloo" if world.device.type == "cpu" else "nccl", verbose=False
    )


def _deepspeed() -> Any:
    """Return DeepSpeed, without its chatter and without the operator it would compile.

    Its shared-memory all-reduce for CPUs is built by g++ at first use, which takes a minute, wants
    a compiler, and serves within one node only; gloo does the same sums.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed  # noqa: PLC0415 - after DS_ACCELERATOR is set
    from deepspeed.utils import logger  # noqa: PLC0415

    logger.setLevel("WARNING")
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def settings(training: Training, world_size: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration; the global batch of the task is the only truth.

    Raises:
        ValueError: The global batch does not divide by the number of processes.
    """
    if training.batch_events % world_size:
        message = f"batch_events {training.batch_events} does not divide by {world_size} processes."
        raise ValueError(message)
    return {
        "train_batch_size": training.batch_events,
        "train_micro_batch_size_per_gpu": training.batch_events // world_size,
        "gradient_clipping": training.clip_norm,
        "bf16": {"enabled": training.precision == "bf16"},
        "zero_optimization": {"stage": training.zero},
        "zero_allow_untested_optimizer": training.optimiser != "adamw",
        "steps_per_print": 10**9,
    }


class Engine:
    """A model in training: one `step` per global batch, checkpoints by `checkpoint`'s protocol.

    `scales` says which parameters have a rate of their own, by name.
    """

    def __init__(
        self, model: nn.Module, training: Training, world: World, scales: Mapping[str, Scale] = {}
    ) -> None:
        self.world = world
        self.training = training
        grouped = groups(model, training, scales)
        self.rates = [group["lr"] for group in grouped]
        self.engine, *_ = _deepspeed().initialize(
            model=model.to(world.device),
            optimizer=optimiser(training, grouped),
            config=settings(training, world.size),
            dist_init_required=False,
        )
        self.average: Average | None = None
        if training.ema_events is not None and world.is_first:
            self.average = Average(self.engine.module, training)

    def step(self, batch: Batch, objective: WeightedSum, factor: float) -> dict[str, float]:
        """Take one optimiser step; return the loss, its parts, and the gradient norm.

        Every group of parameters has the share `factor` of its own rate. The numbers are means over
        the processes, so over the global batch; `points` is how many it had. Without ZeRO in single
        precision DeepSpeed clips by the gradient norm and does not tell it.
        """
        for group, rate in zip(self.engine.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = factor * rate
        batch = batch.to(self.world.device)
        with part("forward"):
            total, losses = objective(self.engine(batch), batch)
        with part("backward"):
            self.engine.backward(total)
        with part("optimiser"):
            self.engine.step()
            if self.average is not None:
                self.average.update(self.engine.module)
        with part("telling"):
            points = total.new_full((), len(batch.points), dtype=torch.float64)
            numbers = self._mean({"loss": total, **losses, "points": points})
            numbers["points"] = round(numbers["points"] * self.world.size)
            norm = self.engine.get_global_grad_norm()
            return numbers if norm is None else numbers | {"grad_norm": float(norm)}

    def _mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean over processes of each value."""
        stacked = torch.stack([value.detach().double() for value in values.values()])
        torch.distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / self.world.size).tolist(), strict=True))

    def strongest(self, wish: int) -> int:
        """Return the largest `wish` of all processes; all must ask at the same step."""
        value = torch.tensor([wish], device=self.world.device)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
        return int(value.item())

    @torch.no_grad()
    def held_out(
        self, batches: Sequence[tuple[Batch, bool]], objective: WeightedSum, seed: int
    ) -> float:
        """Return the mean loss over the events of all processes' `batches` that count.

        The model draws at random from `seed` on, the same each time; the training's own random
        states are left as they were.
        """
        device = self.world.device
        devices = [device] if device.type == "cuda" else []
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.engine.eval()
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for batch, counts in batches:
                there = batch.to(device)
                loss, _ = objective(self.engine(there), there)
                if counts:
                    events = len(batch.event_id)
                    sums += torch.stack([loss.double() * events, loss.new_tensor(events).double()])
        self.engine.train()
        torch.distributed.all_reduce(sums)
        return float(sums[0] / sums[1])

    def save(
        self,
        checkpoints: Path,
        events_seen: int,
        kept: Sequence[int] = (),
        told: Mapping[str, object] = {},
    ) -> None:
        """Write a checkpoint of model, optimiser, sampler position and random states; all call.

        Those after as many events as `kept` says are never removed. `told` is what else the
        manifest says.
        """
        written = checkpoint.temporary(checkpoints, events_seen)
        if self.world.is_first:
            shutil.rmtree(written, ignore_errors=True)
            written.mkdir(parents=True)
        torch.distributed.barrier()
        state = {"events_seen": events_seen}
        self.engine.save_checkpoint(str(written), tag=STATE, client_state=state)
        if self.average is not None:
            torch.save(self.average.values, written / AVERAGE)
        torch.save(_random_states(), written / f"random-{self.world.rank:05d}.pt")
        torch.distributed.barrier()
        if self.world.is_first:
            checkpoint.seal(written, events_seen, told)
            checkpoint.prune(checkpoints, keep=self.training.keep_checkpoints, always=kept)
        torch.distributed.barrier()

    def resume(self, checkpoints: Path, begin: tuple[Path, int] | None = None) -> int:
        """Load the newest checkpoint that verifies; return the events it had seen, 0 if none.

        Where there is none at all, `begin` says whose checkpoints to begin from, and at how many
        events.

        Raises:
            RunError: There are checkpoints, and none verifies; or not the one to begin from.
        """
        found: list[tuple[Path, int] | None] = [None]
        if self.world.is_first:
            found = [checkpoint.newest(checkpoints)]
            if found[0] is None and begin is not None:
                found = [checkpoint.exactly(*begin)]
        torch.distributed.broadcast_object_list(found)
        if found[0] is None:
            return 0
        path, events_seen = found[0]
        self.engine.load_checkpoint(str(path), tag=STATE)
        own = path / f"random-{self.world.rank:05d}.pt"
        _restore(torch.load(own, weights_only=False))
        if self.average is not None:
            self.average.load(torch.load(path / AVERAGE, weights_only=True))
        return events_seen

    def export(self, path: Path, about: Mapping[str, str] = {}) -> str:
        """Write the plain weights to `path`, once; return the SHA-256 of their values.

        Where a mean is kept, it is written in their place, and the first process's hash is of it.
        `about` goes into the file's header, beside that hash.
        """
        import deepspeed  # noqa: PLC0415

        module: nn.Module = self.engine.module
        sharded = self.training.zero == 3
        gathering = deepspeed.zero.GatheredParameters(list(module.parameters()))
        with gathering if sharded else nullcontext():
            weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
        if self.average is not None:
            weights |= {name: value.cpu() for name, value in self.average.values.items()}
        digest = weights_hash(weights)
        if self.world.is_first:
            save(weights, path, {**about, "weights_sha256": digest})
        return digest

    def leave(self) -> None:
        """Wait for the other processes, and leave the world."""
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names and values, whatever file they lie in."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _random_states() -> dict[str, Any]:
    states = {"python": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002
    states["torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        states["device"] = torch.cuda.get_rng_state()
    return states


def _restore(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "device" in states:
        torch.cuda.set_rng_state(states["device"])
