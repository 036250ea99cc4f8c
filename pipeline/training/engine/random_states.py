"""The random states of a process: saved by each with a checkpoint, and gone on from."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

SEEDS = 2**32


def of_rank(rank: int) -> str:
    """Return the name of the file of a process."""
    return f"random-{rank:05d}.pt"


def states() -> dict[str, Any]:
    """Return all random states of this process."""
    found = {"python": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002
    found["torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_rng_state()
    return found


def restore(folder: Path, rank: int) -> None:
    """Go on from the states that the process `rank` saved in `folder`.

    Where more processes go on than saved, those beyond take seeds that follow from the first one's
    state and their rank, the same at every such resume. Their dropout masks are then no other
    run's.
    """
    saved = folder / of_rank(rank)
    _set(torch.load(saved if saved.exists() else folder / of_rank(0), weights_only=False))
    if not saved.exists():
        seed = (int(torch.randint(SEEDS, ())) + rank) % SEEDS
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)


def _set(saved: dict[str, Any]) -> None:
    random.setstate(saved["python"])
    np.random.set_state(saved["numpy"])  # noqa: NPY002
    torch.set_rng_state(saved["torch"])
    if "device" in saved:
        torch.cuda.set_rng_state(saved["device"])
