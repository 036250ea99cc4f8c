"""The collectives of torch.distributed, as the modules in training ask for them."""

import torch.distributed
from torch import Tensor

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


COLLECTIVES = Collectives(all_reduce_sum, broadcast)
