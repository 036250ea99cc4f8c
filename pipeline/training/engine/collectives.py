"""The collectives of torch.distributed, as the modules in training ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed
from torch import Tensor, nn

from pipeline.nn.collectives import Collectives


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum of `values` over all processes."""
    values = values.clone()
    torch.distributed.all_reduce(values)
    return values


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


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """While this lasts, `module` has its own parameters, which ZeRO 3 shares out; all must call."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(module.parameters(recurse=False))):
        yield


COLLECTIVES = Collectives(all_reduce_sum, broadcast, all_gather, whole, is_alone=False)
