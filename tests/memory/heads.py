"""Small heads of every downstream task with numbers drawn anew, on states of made backbones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from made_batches import batch as space_points
from torch import Tensor, nn

from memory.cases import CLASSES, Settings, between, choice, taken
from memory.counting import Counts, counts_of
from pipeline.downstream import TASKS, DownstreamTask
from pipeline.families import Family
from pipeline.families.activations import Growth, Taken
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.families.omnijet.spec import OmniJet
from pipeline.families.part.spec import ParT
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from pipeline.training.engine.activation_checkpointing import checkpoint_activations

TRACKS = 6


@dataclass(frozen=True)
class HeadCase:
    """A head's task, the backbone whose states it is given, and a batch."""

    task: DownstreamTask
    model: Family
    batch: Batch

    def counts(self, *, half: bool = False) -> Counts:
        """Return the bytes of the head with the states that it is given."""
        return counts_of(lambda again: self.system(again=again, half=half), self.batch, half=half)

    def grown(self) -> Growth:
        """Return what they grow with."""
        grown: Growth = self.task.beside("activations").terms(self.task, self.model, self.taken)
        return grown

    @property
    def taken(self) -> Taken:
        """How much is taken at once."""
        return taken(self.batch)

    def system(
        self, *, again: bool = False, half: bool = False
    ) -> tuple[nn.Module, Callable[[Batch], Tensor]]:
        """Return the head in training, and what makes its loss of states that are made anew."""
        torch.manual_seed(1)
        module: Any = self.task.module()
        head: nn.Module = module.build(self.task, self.model).train()
        dtype = torch.bfloat16 if half else torch.float32
        head.to(dtype)
        if again:
            checkpoint_activations(head)

        def loss(batch: Batch) -> Tensor:
            layers, width = self.model.hidden
            states = [torch.randn(len(batch.points), width, dtype=dtype) for _ in range(layers)]
            events = None
            if self.model.has_event_token:
                events = torch.randn(len(batch.sizes), self.model.event_width, dtype=dtype)
            output = head(Hidden(states, events), batch)
            return torch.stack([*module.loss(output, batch, self.task).values()]).sum()

        return head, loss


def drawn(task: str, seed: int) -> HeadCase:
    """Return a head of `task` and what it is given, by `seed`."""
    rng = np.random.default_rng([seed, *task.encode()])
    declared = TASKS[task](**SETTINGS[task](rng))
    model: Family = FM4NPPMamba2(width=32 * between(rng, 1, 4), layers=between(rng, 1, 4))
    if task in OF_EVENTS:
        width = between(rng, 2, 8, 12)
        token = getattr(declared, "pooling", choice(rng, "token", "")) == "token"
        model = ParT(width=width, heads=2) if token else OmniJet(width=width, heads=2, codes=9)
    batch = _events(rng, between(rng, 12, 30), between(rng, 30, 90), seed)
    return HeadCase(declared, model, batch)


def _events(rng: np.random.Generator, count: int, points: int, seed: int) -> Batch:
    """Events of `TRACKS` tracks, and noise, with all truth that a task learns."""
    made = space_points([points] * count, seed=seed, tracks=TRACKS)
    track = made.per_point["track"]
    of_points = {
        "track": track,
        "pid": track % 4,
        "noise": track == 0,
        "pt_gev": track.float(),
        "vertex": track,
        "charge": track % 3 - 1,
    }
    of_events = {
        "label": torch.arange(count) % CLASSES,
        "azimuth": torch.rand(count),
        "zenith": torch.rand(count),
        "energy": torch.rand(count),
    }
    return replace(made, per_point=of_points, per_event=of_events)


def _tracks(rng: np.random.Generator) -> Settings:
    return {
        "queries": between(rng, 8, 60),
        "width": between(rng, 2, 8, 12),
        "inner": between(rng, 2, 8, 16),
        "layers": between(rng, 1, 4),
        "heads": choice(rng, 2, 4),
        "noise": choice(rng, "thing", "class"),
    }


def _points(rng: np.random.Generator) -> Settings:
    return {"width": between(rng, 2, 8, 12), "heads": choice(rng, 2, 4)}


def _jets(rng: np.random.Generator) -> Settings:
    return {
        "pooling": choice(rng, "sum", "token", "mean", "attention", "class-attention"),
        "heads": 2,
        "inner": choice(rng, 0, 24, 64),
        "classes": ("a", "b", "c"),
    }


def _anomaly(rng: np.random.Generator) -> Settings:
    pooling = choice(rng, "sum", "token", "mean", "attention", "class-attention")
    return {"pooling": pooling, "heads": 2, "classes": ("a", "b", "c"), "signal": ("a",)}


def _clusters(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 1, 8, 16),
        "dimensions": between(rng, 4, 24),
        "loss_neighbours": between(rng, 3, 10),
        "random_pairs": between(rng, 1, 10, 100),
    }


def _edges(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 1, 6, 8),
        "depth": between(rng, 1, 4),
        "neighbours": between(rng, 3, 12),
    }


def _values(rng: np.random.Generator) -> Settings:
    return {"targets": {"energy": (0.5, 0.3)}, "inner": between(rng, 1, 16, 16)}


OF_EVENTS = ("jets", "anomaly", "direction", "values")
SETTINGS: Mapping[str, Callable[[np.random.Generator], Settings]] = {
    "tracks": _tracks,
    **dict.fromkeys(("particles", "noise", "momentum"), _points),
    "jets": _jets,
    "anomaly": _anomaly,
    "direction": lambda rng: {"inner": between(rng, 1, 16, 16)},
    "values": _values,
    **dict.fromkeys(("clusters", "vertices"), _clusters),
    "edges": _edges,
}
