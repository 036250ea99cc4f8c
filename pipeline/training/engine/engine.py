"""The engine of a training: DeepSpeed and torch.distributed behind the training loop."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import claims
from pipeline.campaign import Training
from pipeline.nn.batch import Batch, MicroBatch
from pipeline.nn.collectives import computing_again, conclude, connect, counting, prepare
from pipeline.nn.losses import WeightedSum
from pipeline.precision import Precision
from pipeline.run import TaskFolder
from pipeline.training.engine import checkpoint, elastic
from pipeline.training.engine.activation_checkpointing import checkpoint_activations
from pipeline.training.engine.backend import init_distributed, initialize
from pipeline.training.engine.caches import cache_on_node
from pipeline.training.engine.collectives import COLLECTIVES, all_gather_texts, broadcast_json
from pipeline.training.engine.ema import EMA
from pipeline.training.engine.optimisers import Scale, groups, optimiser
from pipeline.training.engine.profiling import part
from pipeline.training.engine.state_files import StateFiles, read
from pipeline.training.steps.micro_batches import accumulation_steps, micro_batches
from pipeline.training.weights import save
from pipeline.writing import make_folder

STATE = "state"
BUCKET = 500_000_000  # elements of gradients reduced at once at most, DeepSpeed's default
EMA_WEIGHTS = "ema.pt"
MOST_WANTED = 3


class World:
    """The processes of this link, as the batch script numbered them.

    `profile_steps` is the number of steps to trace, which the command line sets.
    """

    profile_steps = 0

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cpu")
        # ROCm devices answer to this name too.
        if torch.cuda.is_available() and self.local_rank < torch.cuda.device_count():
            self.device = torch.device("cuda", self.local_rank)
            torch.cuda.set_device(self.device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files that all processes share."""
        return self.rank == 0


def join(world: World) -> None:
    """Join the other processes; without any, this process is a world of one."""
    cache_on_node(world.local_rank)
    defaults = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    defaults |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if world.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    # torch warns of renamed collectives at each call that DeepSpeed makes.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    init_distributed(world.rank, world.size, world.device)


def multiply_in(precision: Precision) -> None:
    """Let a GPU use TF32 in products and convolutions if that is the precision, and never else.

    torch itself uses it in convolutions by default.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def settings(training: Training, world_size: int, trained: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration, whose batch has the size of the largest micro-batches.

    `trained` is the number of trained parameters. No bucket is larger: DeepSpeed allocates it whole
    at the first backward pass, 2 GB for any small model, and gradients that are reduced at once in
    both cases are reduced in the same order.

    Raises:
        BadInput: There are more processes than lanes.
    """
    steps = accumulation_steps(training, world_size)
    largest = max(each.events for each in micro_batches(training, 0, world_size))
    return {
        "train_batch_size": largest * steps * world_size,
        "train_micro_batch_size_per_gpu": largest,
        "gradient_accumulation_steps": steps,
        "gradient_clipping": training.clip_norm,
        "bf16": {"enabled": training.precision == "bf16"},
        "zero_optimization": {
            "stage": training.zero,
            "reduce_bucket_size": max(1, min(BUCKET, trained)),
        },
        "zero_allow_untested_optimizer": training.optimiser != "adamw",
        "steps_per_print": 10**9,
    }


def _trained(grouped: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of the parameters that an optimiser steps."""
    return sum(each.numel() for group in grouped for each in group["params"])


class Engine:
    """A model in training: one `step` per global batch, and its checkpoints.

    `scales` holds the learning-rate scales of individual parameters, by name.
    """

    def __init__(
        self, model: nn.Module, training: Training, world: World, scales: Mapping[str, Scale] = {}
    ) -> None:
        self.world = world
        self.training = training
        grouped = groups(model, training, scales)
        self.rates = [group["lr"] for group in grouped]
        if training.activation_checkpointing:
            checkpoint_activations(model)
        multiply_in(training.precision)
        connect(model, replace(COLLECTIVES, is_alone=world.size == 1))
        self.engine = initialize(
            model=model.to(world.device),
            optimizer=optimiser(training, grouped),
            config=settings(training, world.size, _trained(grouped)),
            dist_init_required=False,
        )
        elastic.begin(self.engine)
        self.files = StateFiles()
        self.files.attach(self.engine)
        self.ema: EMA | None = None
        if training.ema_events and world.is_first:
            self.ema = EMA(self.engine.module, training)

    def step(
        self,
        batches: Sequence[MicroBatch],
        objective: WeightedSum,
        factor: float,
        first_beta: float | None = None,
        wanted: Callable[[], int] = lambda: 0,
    ) -> dict[str, float]:
        """Take one optimiser step; return the loss, its terms and the gradient norm.

        The largest number, 3 at most, that a process is `wanted` to do next comes along under that
        name: all that is returned is reduced at once, and the device is waited for once.

        `batches` are this process's micro-batches, as many as in every other process. Each group of
        parameters learns at `factor` times its own rate, with the training's first beta if
        `first_beta` is None. The losses are means over the global batch, of its events or of what
        else an objective counts; `points` is its number of points. Without ZeRO in single precision
        DeepSpeed clips by the gradient norm but does not report it.
        """
        for group, rate in zip(self.engine.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = factor * rate
            group["betas"] = (first_beta or self.training.betas[0], self.training.betas[1])
        sums: dict[str, Tensor] = {}
        batches = [replace(each, batch=each.batch.to(self.world.device)) for each in batches]
        module = self.engine.module
        prepare(module, [each.batch for each in batches if each.weight])
        for micro, shares in zip(batches, self._shares(batches, objective), strict=True):
            with counting(module, bool(micro.weight)):
                losses = self._accumulate(micro, objective, shares)
            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
        conclude(module)
        if self.ema is not None:
            with part("optimiser"):
                self.ema.update(self.engine.module)
        with part("metrics"):
            count = self.world.size * len(batches)
            metrics = self._mean(sums, count, wanted())
            metrics["points"] = round(metrics["points"] * count)
            return metrics

    def _shares(
        self, batches: Sequence[MicroBatch], objective: WeightedSum
    ) -> list[Sequence[float]]:
        """Return how much each part of the objective counts in each of the micro-batches.

        That is its share of the terms of the global batch, times the number of all micro-batches,
        whose mean DeepSpeed takes; for means over events the micro-batch knows it.
        """
        if objective.is_over_events and all(micro.is_whole for micro in batches):
            return [[micro.weight] * len(objective.parts) for micro in batches]
        terms = [objective.terms(micro.batch) * bool(micro.weight) for micro in batches]
        here = torch.stack(terms).to(self.world.device)
        everywhere = COLLECTIVES.all_reduce_sum(here.sum(0)).clamp(min=1)
        shares: list[Sequence[float]] = (
            here / everywhere * self.world.size * len(batches)
        ).tolist()
        return shares

    def _accumulate(
        self, micro: MicroBatch, objective: WeightedSum, shares: Sequence[float]
    ) -> dict[str, Tensor]:
        """Run a micro-batch forward and backward; step after the last. Return weighted losses."""
        batch = micro.batch
        with part("forward"):
            total, losses = objective(self.engine(batch), batch, shares)
        with part("backward"), computing_again(self.engine.module):
            self.engine.backward(total)
        with part("optimiser"):
            self.engine.step()
        points = total.new_full((), len(batch.points) if micro.weight else 0, dtype=torch.float64)
        means = {name: value.detach().double() for name, value in losses.items()}
        return {"loss": total.detach().double(), **means, "points": points}

    def _mean(self, values: Mapping[str, Tensor], count: int, wanted: int) -> dict[str, float]:
        """Return the sum over processes of each value, divided by `count`; the norm; the largest.

        The largest of what is `wanted` is found of sums, too: of how many want at least so much.
        """
        steps = torch.arange(1, MOST_WANTED + 1, device=self.world.device) <= wanted
        stacked = torch.cat([torch.stack(list(values.values())), steps.double()])
        torch.distributed.all_reduce(stacked)
        norm = self.engine.get_global_grad_norm()
        if isinstance(norm, Tensor):
            stacked = torch.cat([stacked, norm.detach().double().reshape(1).to(stacked.device)])
        found = stacked.tolist()
        names = len(values)
        metrics = {name: value / count for name, value in zip(values, found, strict=False)}
        metrics["wanted"] = sum(each > 0 for each in found[names : names + MOST_WANTED])
        if norm is not None:
            metrics["grad_norm"] = found[-1] if isinstance(norm, Tensor) else float(norm)
        return metrics

    def all_reduce_max(self, value: int) -> int:
        """Return the largest `value` of all processes; all must call this at the same step."""
        largest = torch.tensor([value], device=self.world.device)
        torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
        return int(largest.item())

    @property
    def written_by(self) -> dict[str, int]:
        """The settings that decide the layout of a checkpoint's files."""
        return {"processes": self.world.size, "zero": self.training.zero}

    @torch.no_grad()
    def validate(
        self, batches: Sequence[tuple[Batch, bool]], objective: WeightedSum, seed: int
    ) -> float:
        """Return the mean loss over all processes' `batches` whose flag is set.

        Code that asks torch for a random number gets those of `seed`, the same at each call; the
        random states of the training do not change.
        """
        device = self.world.device
        devices = [device] if device.type == "cuda" else []
        sums = torch.zeros(2, len(objective.parts), dtype=torch.float64, device=device)
        batches = [(batch.to(device), counts) for batch, counts in batches]
        self.engine.eval()
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            prepare(self.engine.module, [batch for batch, counts in batches if counts])
            for batch, counts in batches:
                with counting(self.engine.module, counts):
                    parts = objective.each(self.engine(batch), batch)
                if counts:
                    terms = objective.terms(batch)
                    means = torch.stack([torch.stack([*each.values()]).sum() for each in parts])
                    sums += torch.stack([means * terms, terms])
        self.engine.train()
        torch.distributed.all_reduce(sums)
        means = sums[0] / sums[1].clamp(min=1)
        return float(means @ means.new_tensor(objective.weights))

    def save(
        self,
        checkpoints: Path,
        events_seen: int,
        keep: Sequence[int] = (),
        extra: Mapping[str, object] = {},
    ) -> None:
        """Write a checkpoint of model, optimiser and sampler position; all call.

        Random numbers follow from the seed and the position, so no state of them is kept.

        The checkpoints after the numbers of events in `keep` are never removed. `extra` holds
        further entries of the manifest.
        """
        claim = claims.number_of(TaskFolder(checkpoints.parent).claim)
        written = checkpoint.temporary(checkpoints, events_seen, claim)
        if self.world.is_first:
            shutil.rmtree(written, ignore_errors=True)
            make_folder(written)
        torch.distributed.barrier()
        self.files.begin()
        state = {"events_seen": events_seen}
        self.engine.save_checkpoint(str(written), tag=STATE, client_state=state, save_latest=False)
        if self.ema is not None:
            self.files.save(self.ema.values, written / EMA_WEIGHTS)
        hashes = self._hashes(written)
        if self.world.is_first:
            content = {**extra, "written_by": self.written_by}
            checkpoint.seal(written, events_seen, content, hashes)
            checkpoint.prune(checkpoints, keep=self.training.keep_checkpoints, always=keep)
        torch.distributed.barrier()

    def _hashes(self, written: Path) -> dict[str, str]:
        """Return the SHA-256 of the files that all processes wrote to the folder `written`.

        Each process has synced its own; the names are relative to the folder.
        """
        own = {str(path.relative_to(written)): each for path, each in self.files.hashes.items()}
        texts = all_gather_texts(json.dumps(own), self.world.device)
        return {name: each for text in texts for name, each in json.loads(text).items()}

    def resume(self, checkpoints: Path, start: tuple[Path, int] | None = None) -> int:
        """Load the newest checkpoint that verifies; return the events it had seen, 0 if none.

        It may come from another number of processes or another ZeRO stage (`elastic`).

        If there is no checkpoint, the training starts at `start`: the checkpoints of another
        training, and the number of events after which that one was taken.

        Raises:
            RunError: There are checkpoints, and none verifies; or `start` does not verify.
        """
        found = None
        if self.world.is_first:
            found = checkpoint.newest(checkpoints)
            if found is None and start is not None:
                found = checkpoint.exactly(*start)
        chosen = broadcast_json([str(found[0]), found[1]] if found else [], self.world.device)
        if not chosen:
            return 0
        path, events_seen = chosen
        self._load(Path(path))
        return int(events_seen)

    def load(self, checkpoints: Path, step: str) -> None:
        """Load the checkpoint named `step`, which all processes have seen."""
        self._load(checkpoints / step)

    def _load(self, path: Path) -> None:
        written_by = checkpoint.written_by(path)
        if written_by in ({}, self.written_by):
            self.engine.load_checkpoint(str(path), tag=STATE)
        else:
            saved = elastic.Saved(path / STATE, written_by["zero"], written_by["processes"])
            elastic.load(self.engine, saved)
        if self.ema is not None:
            self.ema.load(read(path / EMA_WEIGHTS))

    def export(self, path: Path, metadata: Mapping[str, str] = {}) -> str:
        """Write the plain weights to `path` from the first process; return their values' SHA-256.

        If the training keeps an EMA, the first process writes and hashes that instead. `metadata`
        goes into the file's header, with the hash.
        """
        weights = elastic.gathered(self.engine)
        if self.ema is not None:
            weights |= {name: value.cpu() for name, value in self.ema.values.items()}
        digest = weights_hash(weights)
        if self.world.is_first:
            save(weights, path, {**metadata, "weights_sha256": digest})
        return digest

    def leave(self) -> None:
        """Wait for the other processes, and leave the world."""
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names and values, independent of the file format."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
