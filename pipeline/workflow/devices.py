"""The devices of pilots' workers: one each, or none where workers outnumber them."""

import shlex
from collections.abc import Sequence

from pipeline.job import ACCELERATOR, VISIBLE
from pipeline.site import Site


def devices(site: Site, node: str, workers: int) -> list[str]:
    """Return the devices of a node, one for each of its `workers`; none where those are more.

    They come in the order of the CPUs that `cpu_affinity` gives to the workers.
    """
    gpus = site.nodes[node].gpus if site.accelerator != "cpu" else 0
    order = site.nodes[node].device_order or range(gpus)
    return [str(each) for each in order][:workers] if workers <= gpus else []


def cpu_affinity(site: Site, node: str, workers: int) -> str:
    """Return the CPUs of each worker for Parsl: those nearest to its device, where known."""
    cpus = site.nodes[node].device_cpus[:workers]
    has_devices = len(cpus) == len(devices(site, node, workers)) > 0
    return ":".join(["list", *cpus]) if has_devices else "none"


def on_device(command: Sequence[str], site: Site, node: str, workers: int) -> str:
    """Return the command line that a worker runs, so that it sees its own device or none.

    ROCm counts `CUDA_VISIBLE_DEVICES` within `ROCR_VISIBLE_DEVICES`: of the one die that a worker
    has it would ask for the n-th, and see none but in the first worker (Parsl, issue 3858). Where
    workers outnumber devices all would take the first one: they compute on CPUs.
    """
    if site.accelerator == "cpu" or not site.nodes[node].gpus:
        return shlex.join(command)
    if not devices(site, node, workers):
        hidden = [f"{name}=" for name in VISIBLE]
        return shlex.join(["env", *hidden, f"{ACCELERATOR}=cpu", *command])
    if site.accelerator == "rocm":
        return shlex.join(["env", "-u", "CUDA_VISIBLE_DEVICES", *command])
    return shlex.join(command)
