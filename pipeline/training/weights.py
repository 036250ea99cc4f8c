"""Weights as a file that others can read: safetensors, whole or not at all.

The format (github.com/huggingface/safetensors) holds names, shapes and values, and runs no code
when it is read.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline import claims
from pipeline.data.errors import BadInput
from pipeline.writing import written

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
    write_tensors(plain, path, {"format": "pt", **about})


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write `tensors` to `path` in the format, so that the file stays and the umask decides on it.

    `save_file` itself would make one that its owner alone can read.
    """
    with written(path) as unfinished:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        save_file(dict(tensors), unfinished, metadata=dict(about))
        claims.confirm()
        unfinished.chmod(mode)


def load(path: Path) -> dict[str, Tensor]:
    """Return the weights in `path`, on the CPU.

    Raises:
        BadInput: The file is not whole, or of another format.
    """
    try:
        found: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        message = f"{path}: no whole safetensors file ({error}). Copy or export it again."
        raise BadInput(message) from error
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
