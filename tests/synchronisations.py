"""What would make a process wait for its device, counted on the CPU by the operations that do.

An operation that hands a value to the program, or whose result is as large as its values say, waits
on a GPU until all that was launched before it is done.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PIPELINE = str(Path(__file__).parents[1] / "pipeline")
BY_VALUE = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::bincount",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::is_nonzero",
    "aten::equal",
}
BY_MASK = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}


class Synchronisations(TorchDispatchMode):
    """Counts the operations that wait, by the line that asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if _waits(func._schema.name, args, kwargs):
            self.count(func._schema.name)
        return func(*args, **kwargs)

    def count(self, name: str) -> None:
        """Count an operation at the innermost line of the project, or of DeepSpeed."""
        where = [_line(each) for each in traceback.extract_stack()]
        self.found[f"{name} at {next((each for each in reversed(where) if each), '')}"] += 1


def _line(frame: traceback.FrameSummary) -> str:
    """Return where in the project or in DeepSpeed a frame is, "" if in neither."""
    if frame.filename.startswith(PIPELINE):
        return f"{Path(frame.filename).relative_to(PIPELINE)}:{frame.lineno}"
    _, found, inside = frame.filename.rpartition("/deepspeed/")
    return f"deepspeed/{inside}:{frame.lineno}" if found else ""


def _waits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the operation waits for the device."""
    if name == "aten::repeat_interleave":
        return kwargs.get("output_size") is None
    if name in BY_MASK:
        indices = [each for each in args[1] if each is not None]
        return any(each.dtype in (torch.bool, torch.uint8) for each in indices)
    return name in BY_VALUE


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what waits while this lasts; `tolist` is no operation, so it is counted by its name."""
    plain = torch.Tensor.tolist
    with Synchronisations() as mode:

        def tolist(tensor: torch.Tensor) -> Any:
            mode.count("tolist")
            return plain(tensor)

        torch.Tensor.tolist = tolist
        try:
            yield mode.found
        finally:
            torch.Tensor.tolist = plain
