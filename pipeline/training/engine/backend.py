"""DeepSpeed as the engine uses it: quiet, and without what it would compile."""

import importlib
import sys
import warnings
from typing import Any

import torch

from pipeline.training.engine.dataclass_hooks import show_dataclasses
from pipeline.training.engine.optimisers import AdamW
from pipeline.training.engine.rendezvous import join_group

MUON = "deepspeed.runtime.zero.muon.muon_optimizer"


def init_distributed(rank: int, size: int, device: torch.device) -> None:
    """Join the `size` processes that meet where the environment says, as number `rank` of them.

    DeepSpeed takes the group of torch that it finds; made by itself, its store would listen at all
    addresses of the first node.
    """
    library = _deepspeed()
    from deepspeed.constants import default_pg_timeout

    if not torch.distributed.is_initialized():
        join_group(rank, size, device, default_pg_timeout)
    backend = torch.distributed.get_backend()
    library.init_distributed(dist_backend=backend, verbose=False)


def initialize(**arguments: Any) -> Any:
    """Return the engine that `deepspeed.initialize` makes of `arguments`."""
    library = _deepspeed()
    if MUON not in sys.modules:
        import_uncompiled(MUON)
    _take_adamw()
    engine, *_ = library.initialize(**arguments)
    return engine


def _deepspeed() -> Any:
    """Return DeepSpeed without its log messages and without the operator that it would compile.

    g++ would build its shared-memory all-reduce for CPUs at first use. That takes a minute, needs a
    compiler and works within one node only; gloo computes the same sums.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed
    from deepspeed.utils import logger

    logger.setLevel("WARNING")
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    show_dataclasses()
    return deepspeed


def _take_adamw() -> None:
    """Let DeepSpeed know our AdamW, which is torch's, as one that its ZeRO was tried with."""
    from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS as KNOWN

    if AdamW not in KNOWN:
        KNOWN.append(AdamW)


def import_uncompiled(module: str) -> None:
    """Import `module`; where it calls torch.compile, that returns the function as it is.

    Every engine of DeepSpeed imports its Muon, which no training here uses. To compile Muon's
    kernels torch would import its compiler: 1,400 modules and 2 s of CPU in each process of each
    link.
    """
    before = torch.compile
    torch.compile = _as_it_is  # type: ignore[assignment]
    try:
        importlib.import_module(module)
    finally:
        torch.compile = before


def _as_it_is(function: Any = None, **_settings: Any) -> Any:
    """Return what torch.compile is to compile, or a decorator that returns it."""
    return function if function is not None else _as_it_is
