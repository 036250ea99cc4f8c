"""From a declared model to what is trained: its module, what it minimises, and what it reads."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from pipeline.data.store import Store
from pipeline.families import Family, Reads
from pipeline.families.custom.module import function_in
from pipeline.nn.losses import Objective, WeightedSum


@dataclass(frozen=True)
class System:
    """A model with its pretraining heads; the module takes a Batch, the objective its output."""

    module: nn.Module
    objective: WeightedSum
    reads: Reads

    @property
    def choices(self) -> dict[str, str]:
        """What the module chose by itself and a result must say: who computes its scans."""
        return dict(getattr(self.module, "choices", {}))


def build(model: Family, store: Store | None) -> System:
    """Return the system that `model` declares; its weights come from torch's random state.

    Of `store` a builder takes what shapes depend on: a detector's geometry, a vocabulary. Without
    one, shapes are as declared and such tables are zero: enough to count parameters.

    Raises:
        BadInput: The store is of another detector or vocabulary than the model, or the user's
            file does not hold what is named.
    """
    module: nn.Module = model.beside("module").build(model, store)
    parts = [(objective(model, name), weight) for name, weight in model.objective_weights.items()]
    return System(module, WeightedSum(parts), model.reads())


def objective(model: Family, name: str) -> Objective:
    """Return the objective `name` of a family, or of a user's file, "file.py:name".

    Raises:
        BadInput: The user's file does not hold it.
    """
    if name in model.OBJECTIVES:
        known: Objective = getattr(model.beside("objective"), name)
        settings = model.objective_settings(name)
        return partial(known, **settings) if settings else known
    file, _, function = name.rpartition(":")
    users: Objective = function_in(Path(file), function)
    return users
