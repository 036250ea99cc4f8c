"""Who computes the scans: mamba-ssm's kernels on a device, or plain PyTorch anywhere.

The choice is made once, when the model is built, and recorded: the two must be the same function,
and a result says which of them it is of. Axes: P points, packed · H heads · D channels · N state.
"""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.fm4npp.spec import Kernels
from pipeline.nn.batch import Batch
from pipeline.nn.scan import scan
from pipeline.nn.selective import selective_scan

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Batch], Tensor]
KERNELS = "mamba-ssm"
CHUNK = 256


def chosen(family: str, requested: Kernels) -> tuple[str, Scan]:
    """Return the name and the scan of `family`'s layers; "auto" takes kernels if there are any.

    Raises:
        BadInput: The kernels are requested, and there is no device or no mamba-ssm.
    """
    there = _are_there()
    if requested == KERNELS and not there:
        message = (
            'kernels = "mamba-ssm": needs a CUDA or ROCm device and the package mamba-ssm (pip '
            'install "cosmotron[cuda]"). Ask for kernels = "torch", or "auto".'
        )
        raise BadInput(message)
    plain, fast = SCANS[family]
    return ("torch", plain) if requested == "torch" or not there else (KERNELS, fast)


def _are_there() -> bool:
    """Return whether there is a device, and mamba-ssm for it."""
    return torch.cuda.is_available() and importlib.util.find_spec("mamba_ssm") is not None


def ssd(
    x_PHD: Tensor, dt_PH: Tensor, a_H: Tensor, b_PN: Tensor, c_PN: Tensor, batch: Batch
) -> Tensor:
    """Return Mamba2's recurrence (P, H, D) in plain PyTorch: see `scan`."""
    return scan(x_PHD, dt_PH, a_H, b_PN, c_PN, batch.lengths)


def selective(
    x_PD: Tensor, dt_PD: Tensor, a_DN: Tensor, b_PN: Tensor, c_PN: Tensor, batch: Batch
) -> Tensor:
    """Return Mamba's recurrence (P, D) in plain PyTorch: see `selective_scan`."""
    return selective_scan(x_PD, dt_PD, a_DN, b_PN, c_PN, batch.event)


def ssd_kernel(
    x_PHD: Tensor, dt_PH: Tensor, a_H: Tensor, b_PN: Tensor, c_PN: Tensor, batch: Batch
) -> Tensor:
    """Return Mamba2's recurrence (P, H, D) by mamba-ssm: one sequence with the starts of events."""
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    y: Tensor = mamba_chunk_scan_combined(
        x_PHD.unsqueeze(0),
        dt_PH.unsqueeze(0),
        a_H,
        b_PN[None, :, None],
        c_PN[None, :, None],
        CHUNK,
        seq_idx=batch.event.int().unsqueeze(0),
    )
    return y.squeeze(0)


def selective_kernel(
    x_PD: Tensor, dt_PD: Tensor, a_DN: Tensor, b_PN: Tensor, c_PN: Tensor, batch: Batch
) -> Tensor:
    """Return Mamba's recurrence (P, D) by mamba-ssm, which knows no events: a row for each.

    The rows are padded at their ends, after which nothing comes.
    """
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    x, dt, b, c = (batch.padded(each)[0].transpose(1, 2) for each in (x_PD, dt_PD, b_PN, c_PN))
    y: Tensor = selective_scan_fn(x.contiguous(), dt.contiguous(), a_DN, b, c)
    return y.transpose(1, 2)[batch.event, batch.index_in_event]


SCANS: dict[str, tuple[Scan, Scan]] = {
    "fm4npp-mamba": (selective, selective_kernel),
    "fm4npp-mamba2": (ssd, ssd_kernel),
}
