"""DeepSpeed under the training loop: the only file that knows it, or torch.distributed."""

import getpass
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.campaign import Training
from pipeline.job import batch_job_id
from pipeline.nn.batch import Batch, MicroBatch
from pipeline.nn.losses import WeightedSum
from pipeline.training.engine import checkpoint, elastic
from pipeline.training.engine.activation_checkpointing import recompute
from pipeline.training.engine.moving_average import Average
from pipeline.training.engine.optimisers import Scale, groups, optimiser
from pipeline.training.engine.profiling import part
from pipeline.training.engine.random_states import of_rank, restore, states
from pipeline.training.steps import micro_batches
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


CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR")


def cache_on_node(world: World) -> None:
    """Let what is compiled lie on this node, by user, job and process, unless told otherwise.

    In a home that all nodes share, many processes lock and write the same files at once.
    """
    names = (getpass.getuser(), batch_job_id() or "alone", str(world.local_rank))
    folder = Path(tempfile.gettempdir()) / "-".join(("cosmotron", *names))
    for name in CACHES:
        os.environ.setdefault(name, str(folder / name.removesuffix("_DIR").lower()))


def join(world: World) -> None:
    """Join the other processes; a lone process is a world of one."""
    cache_on_node(world)
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
    """Return DeepSpeed's configuration; its batch is that of the largest micro-batches.

    Raises:
        BadInput: There are more processes than lanes.
    """
    steps = micro_batches.accumulation(training, world_size)
    largest = max(part.events for part in micro_batches.parts(training, 0, world_size))
    return {
        "train_batch_size": largest * steps * world_size,
        "train_micro_batch_size_per_gpu": largest,
        "gradient_accumulation_steps": steps,
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
        if training.activation_checkpointing:
            recompute(model)
        self.engine, *_ = _deepspeed().initialize(
            model=model.to(world.device),
            optimizer=optimiser(training, grouped),
            config=settings(training, world.size),
            dist_init_required=False,
        )
        elastic.begin(self.engine)
        self.average: Average | None = None
        if training.ema_events is not None and world.is_first:
            self.average = Average(self.engine.module, training)

    def step(
        self, several: Sequence[MicroBatch], objective: WeightedSum, factor: float
    ) -> dict[str, float]:
        """Take one optimiser step; return the loss, its parts, and the gradient norm.

        `several` are this process's micro-batches, as many in every process. Every group of
        parameters has the share `factor` of its own rate. The numbers are means over the events of
        the global batch; `points` is how many it had. Without ZeRO in single precision DeepSpeed
        clips by the gradient norm and does not tell it.
        """
        for group, rate in zip(self.engine.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = factor * rate
        told: dict[str, Tensor] = {}
        for micro in several:
            for name, value in self._accumulate(micro, objective).items():
                told[name] = told[name] + value if name in told else value
        if self.average is not None:
            with part("optimiser"):
                self.average.update(self.engine.module)
        with part("telling"):
            count = self.world.size * len(several)
            numbers = self._mean(told, count)
            numbers["points"] = round(numbers["points"] * count)
            norm = self.engine.get_global_grad_norm()
            return numbers if norm is None else numbers | {"grad_norm": float(norm)}

    def _accumulate(self, micro: MicroBatch, objective: WeightedSum) -> dict[str, Tensor]:
        """Take a micro-batch forward and back, the last one a step; return its weighted losses."""
        batch = micro.batch.to(self.world.device)
        with part("forward"):
            total, losses = objective(self.engine(batch), batch)
        with part("backward"):
            self.engine.backward(micro.weight * total)
        with part("optimiser"):
            self.engine.step()
        told = {"loss": total, **losses}
        points = total.new_full((), len(batch.points) if micro.weight else 0, dtype=torch.float64)
        means = {name: micro.weight * value.detach().double() for name, value in told.items()}
        return {**means, "points": points}

    def _mean(self, values: Mapping[str, Tensor], count: int) -> dict[str, float]:
        """Return the sum over processes of each value, divided by `count`."""
        stacked = torch.stack(list(values.values()))
        torch.distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / count).tolist(), strict=True))

    def strongest(self, wish: int) -> int:
        """Return the largest `wish` of all processes; all must ask at the same step."""
        value = torch.tensor([wish], device=self.world.device)
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
        return int(value.item())

    @property
    def written_by(self) -> dict[str, int]:
        """What the layout of a checkpoint's files depends on."""
        return {"processes": self.world.size, "zero": self.training.zero}

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
        torch.save(states(), written / of_rank(self.world.rank))
        torch.distributed.barrier()
        if self.world.is_first:
            all_told = {**told, "written_by": self.written_by}
            checkpoint.seal(written, events_seen, all_told)
            checkpoint.prune(checkpoints, keep=self.training.keep_checkpoints, always=kept)
        torch.distributed.barrier()

    def resume(self, checkpoints: Path, begin: tuple[Path, int] | None = None) -> int:
        """Load the newest checkpoint that verifies; return the events it had seen, 0 if none.

        It may be of another number of processes, or another ZeRO stage: `engine_elastic`. Processes
        beyond those that saved draw anew: dropout masks then differ from any other run's.

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
        self._load(path)
        return events_seen

    def take(self, checkpoints: Path, step: str) -> None:
        """Load the checkpoint of the name `step`, which all processes have seen."""
        self._load(checkpoints / step)

    def _load(self, path: Path) -> None:
        written_by = checkpoint.written_by(path)
        if written_by in ({}, self.written_by):
            self.engine.load_checkpoint(str(path), tag=STATE)
        else:
            there = elastic.Saved(path / STATE, written_by["zero"], written_by["processes"])
            elastic.load(self.engine, there)
        restore(path, self.world.rank)
        if self.average is not None:
            self.average.load(torch.load(path / AVERAGE, weights_only=True))

    def export(self, path: Path, about: Mapping[str, str] = {}) -> str:
        """Write the plain weights to `path`, once; return the SHA-256 of their values.

        Where a mean is kept, it is written in their place, and the first process's hash is of it.
        `about` goes into the file's header, beside that hash.
        """
        weights = elastic.gathered(self.engine)
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
