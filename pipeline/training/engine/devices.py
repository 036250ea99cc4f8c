"""Whether this process has the device that its job was given."""

import os
import socket

import torch
from torch import nn

from pipeline.data.errors import BadInput
from pipeline.families.family import Family
from pipeline.job import ACCELERATOR, VISIBLE


def built_for() -> str:
    """Return what torch was built for: "cuda", "rocm" or "cpu"."""
    if torch.version.hip:
        return "rocm"
    return "cuda" if torch.version.cuda else "cpu"


def check(local_rank: int) -> None:
    """Check that torch sees a device of the kind that the job's site has, and one for this process.

    Raises:
        BadInput: There is none. It would compute on a CPU, hundreds of times slower, at the price
            of the device; or wait for ever for processes that have one.
    """
    wanted = os.environ.get(ACCELERATOR, "cpu")
    if wanted == "cpu":
        return
    where = f"{socket.gethostname()}, process {local_rank} of the node"
    torch_is = f"torch {torch.__version__} is built for {built_for()}"
    if built_for() != wanted:
        message = (
            f"{where}: the devices are {wanted}, and {torch_is}. Install the torch for {wanted} "
            "(docs/containers.md, or pyproject's extras), or run in an image that has it."
        )
        raise BadInput(message)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= local_rank:
        given = [f"{name}={os.environ[name]}" for name in VISIBLE if name in os.environ]
        message = (
            f"{where}: sees {count} device(s), and needs number {local_rank}; {torch_is}, "
            f"{', '.join(given) or 'no variable hides any'}. Look at the driver with "
            f"{'rocm-smi' if wanted == 'rocm' else 'nvidia-smi'} on that node, and at "
            "`cosmotron sites check --job`."
        )
        raise BadInput(message)


def check_kernels(model: Family, module: nn.Module) -> None:
    """Check that a model on a device has the kernels that the plan's rate and memory are of.

    Raises:
        BadInput: It was left open which to use, and mamba-ssm is missing.
    """
    if os.environ.get(ACCELERATOR, "cpu") == "cpu":
        return
    requested = (getattr(each, "kernels", None) for each in (model, getattr(model, "mamba", None)))
    used = {
        getattr(each, "choices", {}).get("kernels") or getattr(each, "kernels", None)
        for each in module.modules()
    }
    if "auto" in requested and "torch" in used:
        message = (
            'kernels = "auto": mamba-ssm is missing in this environment, and without it the scan '
            "takes many times the memory and time that were planned. Install it (pip install "
            '"cosmotron[cuda]", or an image of docs/containers.md), or ask for kernels = "torch".'
        )
        raise BadInput(message)
