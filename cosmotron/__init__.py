"""Runs, stores and models of Cosmotron in Python: the door for notebooks (docs/python.md).

Importing this loads neither torch nor pandas nor awkward: each is loaded when it is needed.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmotron.models import Model
    from cosmotron.runs import Run
    from cosmotron.stores import Store

__all__ = ["load", "load_published", "open", "open_store"]
AnyPath = str | PathLike[str]


def open(path: AnyPath) -> "Run":  # noqa: A001 - as one says it: cosmotron.open
    """Return the run in the folder `path`.

    >>> run = cosmotron.open("runs/tiny")
    >>> run
    Run(runs/tiny)

    Raises:
        DeclarationError: There is no run.
    """
    from cosmotron.runs import Run

    return Run(path)


def open_store(path: AnyPath) -> "Store":
    """Return the store of prepared events in the folder `path`.

    >>> store = cosmotron.open_store("runs/tiny/data/labelled.zarr")
    >>> store
    Store(runs/tiny/data/labelled.zarr: train 8, test 8 events)

    Raises:
        BadInput: There is no store, or it is damaged.
    """
    from cosmotron.stores import Store

    return Store(path)


def load(path: AnyPath, *, store: AnyPath | None = None, device: str = "") -> "Model":
    """Return the model in a folder that `cosmotron export` or `weights import` wrote.

    `store` is one of its detector, for a model that reads a detector's tables. `device` is torch's
    name of one; by default the first GPU, where there is one.

    >>> model = cosmotron.load("exported")
    >>> model
    Model(exported: fm4npp-mamba2, tracks)

    Raises:
        DeclarationError: There is no such folder, or an own file that it names is gone.
        RunError: Its weights are not those that it speaks of.
    """
    from pathlib import Path

    from cosmotron.models import Model
    from pipeline.training.loaded import Loaded

    loaded = Loaded.of(Path(path), Path(store) if store is not None else None, device)
    head = loaded.declared.head
    kinds = [loaded.declared.model.family, *([head.task] if head is not None else [])]
    return Model(loaded, f"{path}: {', '.join(kinds)}")


def load_published(family: str, file: AnyPath, *, size: str = "", device: str = "") -> "Model":
    """Return a model with the weights that its authors published in `file`.

    `family` is as `cosmotron models` lists it; `size` is needed where shapes do not say it. No code
    in the file is run.

    >>> cosmotron.load_published("particlenet", "ParticleNet.safetensors")
    Model(particlenet, as published)

    Raises:
        DeclarationError: The family has no map of its authors' names, or no such size.
        BadInput: The weights are of another model, or the file is damaged.
    """
    from pathlib import Path

    from cosmotron.models import published

    return published(family, Path(file), size, device)
