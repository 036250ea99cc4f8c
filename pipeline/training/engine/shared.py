"""Values that all processes of a training must agree on, for modules that look at their data."""

import torch.distributed
from torch import Tensor


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def summed(values: Tensor) -> Tensor:
    """Return the sum of `values` over all processes; `values` themselves where there is one."""
    if _together():
        values = values.clone()
        torch.distributed.all_reduce(values)
    return values


def of_first(values: Tensor) -> Tensor:
    """Return the `values` of the first process; all must ask."""
    if _together():
        values = values.contiguous()
        torch.distributed.broadcast(values, 0)
    return values
