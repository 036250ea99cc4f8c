"""Weights as a file that others can read: safetensors, whole or not at all.

The format (github.com/huggingface/safetensors) holds names, shapes and values, and runs no code
when it is read.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "weights.safetensors"


def save(weights: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write `weights` to `path`, and `about` into its header beside the format's own "format".

    The format has no tensors that share memory: each is written by itself.
    """
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in seen else value.contiguous()
        seen.add(storage)
    unfinished = path.with_suffix(".tmp")
    save_file(plain, unfinished, metadata={"format": "pt", **about})
    unfinished.replace(path)


def load(path: Path) -> dict[str, Tensor]:
    """Return the weights in `path`, on the CPU."""
    found: dict[str, Tensor] = load_file(path)
    return found


def carried(
    weights: Mapping[str, Tensor], into: Mapping[str, Tensor], anew: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return the weights `into` of a model with those of `weights` that have a place in it.

    That is the same name and shape, and a name that begins with none of `anew`.
    """
    found = {
        name: value
        for name, value in weights.items()
        if name in into and value.shape == into[name].shape and not name.startswith(anew)
    }
    return {**into, **found}
