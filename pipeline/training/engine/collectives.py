"""The collectives of torch.distributed, as the modules in training ask for them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed
from torch import Tensor, nn

from pipeline.nn.collectives import Collectives


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum of `values` over all processes."""
    values = values.clone()
    torch.distributed.all_reduce(values)
    return values


def is_any(flag: bool, device: torch.device) -> bool:
    """Return whether `flag` is true in a process; all must call, and wait for the last to do so."""
    return bool(all_reduce_sum(torch.tensor([int(flag)], device=device)).item())


def broadcast(values: Tensor) -> Tensor:
    """Return the `values` of the first process; all must call."""
    values = values.contiguous()
    torch.distributed.broadcast(values, 0)
    return values


def all_gather(values: Tensor) -> Tensor:
    """Return the `values` of all processes, of equal shapes, one after the other; all must call."""
    values = values.contiguous()
    found = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(found, values)
    return torch.cat(found)


def all_gather_texts(text: str, device: torch.device) -> list[str]:
    """Return the `text` of each process, in their order; all must call. No object is pickled."""
    content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    sizes = all_gather(torch.tensor([len(content)], device=device)).tolist()
    padded = content.new_zeros(max(sizes))
    padded[: len(content)] = content
    every = all_gather(padded).cpu().view(len(sizes), -1)
    return [bytes(row[:size].tolist()).decode() for row, size in zip(every, sizes, strict=True)]


def broadcast_json(value: Any, device: torch.device) -> Any:
    """Return the `value` of the first process, which JSON can hold; all must call.

    It goes as numbers: torch's own way to send objects is a pickle, which can run code.
    """
    content = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=device)
    count = broadcast(torch.tensor([len(content)], device=device))
    if torch.distributed.get_rank() != 0:
        content = torch.zeros(int(count), dtype=torch.uint8, device=device)
    return json.loads(bytes(broadcast(content).tolist()))


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """While this lasts, `module` has its own parameters, which ZeRO 3 shares out; all must call."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(module.parameters(recurse=False))):
        yield


COLLECTIVES = Collectives(
    all_reduce_sum,
    broadcast,
    all_gather,
    whole,
    torch.distributed.get_rank,
    is_alone=False,
)
