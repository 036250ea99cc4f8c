"""Results of finished tasks as their programs record them; what a test does not ask is made up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import records
from pipeline.evaluation.result import EvaluationResult, Pictures
from pipeline.records import (
    Evaluated,
    Featured,
    Probed,
    Product,
    Simulated,
    Staged,
    Tokenized,
    Trained,
)

SHA256 = "5e" * 32


def evaluated(scores: Mapping[str, float], **more: Any) -> Evaluated:
    """Return the result of an evaluation."""
    what: dict[str, Any] = {"task": "tracks", "mode": "full", "labels": 100, "seed": 1}
    what |= {"family": "fm4npp-mamba2", "steps": 3, "batch_events": 4, "learning_rate": 1e-3}
    what |= {"split": "test", "events": 125, "points": 1250, "store_sha256": SHA256}
    return Evaluated(**what | {"scores": dict(scores)} | more)


def probed(loss: float, **more: Any) -> Probed:
    """Return the result of a probe that found no more than a loss."""
    what: dict[str, Any] = {"family": "fm4npp-mamba2", "losses": {"loss": loss}, "split": "test"}
    what |= {"intervals": {"loss": (loss, loss)}, "events": 40, "pretraining_events": 100}
    return Probed(**what | {"store_sha256": SHA256} | more)


def reread(look: EvaluationResult, folder: Path) -> tuple[Evaluated, Pictures]:
    """Return both records of what was found, written to `folder` and read again."""
    scores, intervals = look.numbers
    result = evaluated(scores, intervals=intervals, about=dict(look.about))
    records.write(folder / "result.json", result)
    records.write(folder / "pictures.json", look.pictures)
    found = records.read(folder / "result.json", Evaluated)
    pictures = records.read(folder / "pictures.json", Pictures)
    assert found is not None
    assert pictures is not None
    return found, pictures


def simulated(**more: Any) -> Simulated:
    """Return the result of a simulation."""
    return Simulated(**{"files": 2, "events": 24, "means": {}} | more)


def staged(**more: Any) -> Staged:
    """Return the result of a staged store."""
    what: dict[str, Any] = {"events": {"train": 24}, "points": {"train": 240}}
    return Staged(**what | {"rejected": {}, "shards": 1} | more)


def tokenized(**more: Any) -> Tokenized:
    """Return the result of a tokenizer."""
    what: dict[str, Any] = {"family": "vqvae", "codes": 256, "splits": {}, "events": {}}
    return Tokenized(**what | {"points": {}, "rejected": {}, "shards": 1} | store() | more)


def featured(**more: Any) -> Featured:
    """Return the result of a store of features."""
    what: dict[str, Any] = {"family": "fm4npp-mamba2", "combine": "last", "events": {"train": 24}}
    return Featured(**what | {"points": {"train": 240}, "shards": 1} | store() | more)


def store() -> dict[str, str]:
    """Return what the result of a task that writes a store has of it."""
    return {"store_sha256": SHA256}


def of_stage(stage: str) -> Product:
    """Return a result of any task of `stage`."""
    makers = {
        "simulate": simulated,
        "stage": staged,
        "tokenize": tokenized,
        "features": featured,
        "evaluate": lambda: evaluated({"ari": 0.5}),
        "probe": lambda: probed(0.5),
    }
    return makers.get(stage, Trained)()
