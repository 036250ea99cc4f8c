"""From the authors' names of weights to ours, and back: bit for bit.

A family's `published.py` lists its entries; what is done with them stands here once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.nn.message_passing import Norm

SUFFIXES = (".ckpt", ".pt", ".safetensors")

# What torch's batch norms count and nothing reads.
COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class Entry:
    """One weight of ours by both names.

    theirs: one name; or several, of weights of one shape that ours holds end to end.
    kernel: the number of further axes of size 1 in theirs.
    leading: the number of axes of size 1 that theirs has before the others.
    """

    ours: str
    theirs: str | tuple[str, ...]
    kernel: int = 0
    leading: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The authors' names."""
        return (self.theirs,) if isinstance(self.theirs, str) else self.theirs

    def imported(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the authors' weights, in the order of `names`, in our shape."""
        ours = [
            each.reshape(each.shape[self.leading : each.ndim - self.kernel]) for each in weights
        ]
        return ours[0] if len(ours) == 1 else torch.cat(ours)

    def exported(self, weight: Tensor) -> list[Tensor]:
        """Return our weight in the authors' shape, in the order of `names`."""
        several = len(self.names) > 1
        return [
            each.reshape((*(1,) * self.leading, *each.shape, *(1,) * self.kernel))
            for each in (weight.chunk(len(self.names)) if several else [weight])
        ]


def affine(ours: str, theirs: str, *, bias: bool = True) -> Iterator[Entry]:
    """Yield the entries of a linear layer or of a LayerNorm: its weight, and its bias if any."""
    yield Entry(f"{ours}.weight", f"{theirs}.weight")
    if bias:
        yield Entry(f"{ours}.bias", f"{theirs}.bias")


def layered(ours: str, theirs: str, maps: int, *, norm: Norm = "affine") -> Iterator[Entry]:
    """Yield the entries of a sequence of so many linear maps, norms and activations between them.

    `norm` is that of `pipeline.nn.message_passing`; both sequences hold modules in the same order.
    """
    step = 2 if norm == "none" else 3
    for number in range(maps):
        at = step * number
        yield from affine(f"{ours}.{at}", f"{theirs}.{at}")
        if norm == "affine" and number < maps - 1:
            yield from affine(f"{ours}.{at + 1}", f"{theirs}.{at + 1}")


def norm(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield the four entries of a batch norm."""
    yield from affine(ours, theirs)
    yield Entry(f"{ours}.running_mean", f"{theirs}.running_mean")
    yield Entry(f"{ours}.running_variance", f"{theirs}.running_var")


def files(path: Path) -> list[Path]:
    """Return the files of weights that `path` names: itself, or those of a folder, by name.

    Raises:
        BadInput: It is a folder without any.
    """
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
    if not found:
        message = f"{path}: no file that ends in {', '.join(SUFFIXES)} is in this folder."
        raise BadInput(message)
    return found


def read_all(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file, or in all files of a folder, by the authors' names.

    Raises:
        BadInput: A file is not as `read` needs it, or two have a weight of one name.
    """
    weights: dict[str, Tensor] = {}
    for file in files(path):
        more = read(file)
        twice = sorted(more.keys() & weights.keys())
        if twice:
            message = f"{file}: {twice[0]} is in another file of {path} too. Leave one of them."
            raise BadInput(message)
        weights |= more
    return weights


def read(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of the authors', safetensors or torch's, by their names.

    No object is unpickled: a file may hold tensors, numbers, texts and containers of them.

    Raises:
        BadInput: It is not there, is damaged, or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        message = f"{path}: no such file. Give the file of weights that the authors publish."
        raise BadInput(message) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        message = f"{path}: not a whole file of weights ({_line(error)}). Fetch it again."
        raise BadInput(message) from error
    except Exception as error:  # torch's own class of a refused pickle is not public
        if type(error).__name__ != "UnpicklingError":
            raise
        message = f"{path}: holds objects beside tensors, which are not loaded ({_line(error)})."
        raise BadInput(message) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):  # of Lightning
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        message = f"{path}: holds no weights by name; expected a state dict."
        raise BadInput(message)
    return found


def imported(
    weights: Mapping[str, Tensor],
    entries: Iterable[Entry],
    shapes: Mapping[str, torch.Size],
    *,
    prefix: str = "",
    source: str = "weights",
) -> dict[str, Tensor]:
    """Return the authors' weights by our names, in our shapes.

    Args:
        weights: By the authors' names, with or without `prefix`.
        entries: Those of the family.
        shapes: Of our module, by our names.
        prefix: Before each of the authors' names.
        source: What a message calls the weights.

    Raises:
        BadInput: A weight is missing, left over or of another shape; the message names it.
    """
    left = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    found: dict[str, Tensor] = {}
    for entry in entries:
        for name in entry.names:
            if name not in left:
                message = f"{source}: no {name}. Is this a file of another model or size?"
                raise BadInput(message)
        found[entry.ours] = _fitting(entry, left, shapes[entry.ours], source)
    rest = [name for name in left if not name.endswith(COUNTERS)]
    if rest:
        message = f"{source}: {rest[0]} and {len(rest) - 1} more are of no layer of this model."
        raise BadInput(message)
    return found


def exported(
    weights: Mapping[str, Tensor], entries: Iterable[Entry], *, prefix: str = ""
) -> dict[str, Tensor]:
    """Return our weights by the authors' names, in their shapes."""
    return {
        prefix + name: part
        for entry in entries
        for name, part in zip(entry.names, entry.exported(weights[entry.ours]), strict=True)
    }


def _fitting(entry: Entry, left: dict[str, Tensor], shape: torch.Size, source: str) -> Tensor:
    """Return the weight of an entry, taken out of `left`, if it has our shape."""
    weight = entry.imported([left.pop(name) for name in entry.names])
    if weight.shape != shape:
        message = (
            f"{source}: {' + '.join(entry.names)} has shape {tuple(weight.shape)}; this model has "
            f"{tuple(shape)}. Name the size that the file is of."
        )
        raise BadInput(message)
    return weight


def _line(error: Exception) -> str:
    """Return the first line of an error, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
