"""mamba-ssm without its kernels: functions that keep for the backward pass what these keep.

As of mamba-ssm 2.3.2.post1, `selective_scan_interface.py` and `ssd_combined.py`. What they compute
is of no use; memory alone is counted.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

LONGEST_CHUNK = 2048  # points whose states the selective scan does not keep


class _Selective(torch.autograd.Function):
    """The selective scan of rows x, dt (B, D, L), b and c (B, N, L)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        x, dt, a, b, c = inputs
        chunks = -(-x.shape[-1] // LONGEST_CHUNK)
        states = torch.zeros(len(x), x.shape[1], chunks, 2 * a.shape[1])
        ctx.save_for_backward(x, dt, a, b, c, states)
        return torch.zeros_like(x)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(each) for each in ctx.saved_tensors[:5])


class _Chunked(torch.autograd.Function):
    """The scan of Mamba2, of x (1, P, H, D), dt (1, P, H), b and c (1, P, 1, N)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        x, dt, a, b, c = inputs
        cumulated, steps = torch.zeros(2, *dt.shape).unbind()
        out = torch.zeros_like(x)
        ctx.save_for_backward(out, x, dt, a, b, c, cumulated.clone(), steps.clone())
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(each) for each in ctx.saved_tensors[1:6])


def _selective_scan_fn(*inputs: Tensor) -> Tensor:
    scanned: Tensor = _Selective.apply(*inputs)
    return scanned


def _mamba_chunk_scan_combined(*inputs: Any, seq_idx: Tensor) -> Tensor:
    scanned: Tensor = _Chunked.apply(*inputs[:5])
    return scanned


@contextmanager
def standing_in() -> Iterator[None]:
    """Let models take mamba-ssm's kernels, which are these."""
    names = {
        "mamba_ssm.ops.selective_scan_interface": ("selective_scan_fn", _selective_scan_fn),
        "mamba_ssm.ops.triton.ssd_combined": (
            "mamba_chunk_scan_combined",
            _mamba_chunk_scan_combined,
        ),
    }
    modules = {name: ModuleType(name) for name in ("mamba_ssm", "mamba_ssm.ops")}
    modules["mamba_ssm.ops.triton"] = ModuleType("mamba_ssm.ops.triton")
    for name, (function, stand_in) in names.items():
        modules[name] = ModuleType(name)
        setattr(modules[name], function, stand_in)
    sys.modules.update(modules)
    try:
        with mock.patch("pipeline.nn.kernels._are_there", return_value=True):
            yield
    finally:
        for name in modules:
            del sys.modules[name]
