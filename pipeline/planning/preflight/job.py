"""The check job on two nodes: devices, binding, network, rates."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import clock
from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.planning.plan import RunOptions
from pipeline.planning.preflight.check import Check, failed, ok, skipped, warning
from pipeline.run import Run
from pipeline.scheduler import Scheduler, batch_system, render
from pipeline.site import NodeClass, Site
from pipeline.writing import read_json

Rank = dict[str, Any]

WALLTIME_MINUTES = 10
MOST_CLOCK_SECONDS = 1.0
# NCCL and RCCL at NCCL_DEBUG=INFO: "NCCL INFO Using network AWS Libfabric" (src/init.cc)
NETWORK = re.compile(r"NCCL INFO Using network (.+?)\s*$", re.MULTILINE)


def nodes(site: Site) -> int:
    """Return the nodes of the check job: two, or one on a machine without a scheduler."""
    return 2 if batch_system(site).HAS_QUEUE else 1


def job(site: Site, run: Run, options: RunOptions) -> Job:
    """Return the check job, with one process per device as in a training."""
    role = site.training
    key = f"cosmotron-check.{site.name}.{time.time_ns()}"
    folder = run.path / key
    return Job(
        key=key,
        folder=folder,
        command=(sys.executable, "-m", "pipeline.training.programs.preflight", str(folder)),
        node=role.node,
        nodes=nodes(site),
        processes_per_node=site.nodes[role.node].devices,
        walltime_minutes=WALLTIME_MINUTES,
        account=site.account(options.project, role.node),
        qos=options.qos or role.qos,
        image=options.image,
    )


def run(
    site: Site, scheduler: Scheduler, check_job: Job, report: Callable[[JobStatus], None]
) -> Iterator[Check]:
    """Submit the check job, wait for its end, and yield its rows.

    Raises:
        SchedulerError: The scheduler refused it.
    """
    check_job.folder.mkdir(parents=True, exist_ok=True)
    began = clock.time()
    job_id = scheduler.submit(check_job, render(check_job, site))
    status = _wait(site, scheduler, JobHandle(job_id, check_job.key, began), report)
    ranks = _ranks(check_job.folder)
    expected = check_job.nodes * check_job.processes_per_node
    if status.state is not State.COMPLETED or len(ranks) != expected:
        yield failed(
            "job",
            f"job {job_id} ended {status.state}, {len(ranks)} of {expected} processes reported",
            f"Read {check_job.log}",
        )
        return
    yield ok("job", f"job {job_id}: {expected} processes on {check_job.nodes} node(s)")
    yield from judged(site, check_job.nodes, ranks, network(check_job.folder))


def _wait(
    site: Site, scheduler: Scheduler, submitted: JobHandle, report: Callable[[JobStatus], None]
) -> JobStatus:
    while True:
        status = scheduler.query([submitted])[submitted]
        report(status)
        if status.state.is_over:
            return status
        time.sleep(min(site.poll_seconds, 5))


def _ranks(folder: Path) -> list[Rank]:
    found = (read_json(path) for path in folder.glob("rank-*.json"))
    return sorted((each for each in found if each), key=lambda each: int(each["rank"]))


def network(folder: Path) -> set[str]:
    """Return the networks that NCCL's logs in `folder` name, empty if NCCL was not used."""
    found: set[str] = set()
    for path in folder.glob("nccl.*.log"):
        with path.open(errors="replace") as log:
            found.update(name for line in log for name in NETWORK.findall(line))
    return found


def judged(site: Site, node_count: int, ranks: Sequence[Rank], used: set[str]) -> Iterator[Check]:
    """Yield a row for each finding of the processes."""
    node = site.nodes[site.training.node]
    yield _spread(node_count, node, ranks)
    yield _devices(node, ranks)
    yield _binding(site, ranks)
    yield _network(site, node_count, ranks, used)
    reduced = min(each["all_reduce"]["gb_per_s"] for each in ranks)
    latency = max(each["all_reduce"]["latency_us"] for each in ranks)
    yield ok("all-reduce", f"{reduced:.2f} GB/s on the bus, {latency:.0f} µs at least")
    losses = {each["step_loss"] for each in ranks}
    if len(losses) == 1:
        yield ok("DeepSpeed", "a step with ZeRO 1")
    else:
        yield failed("DeepSpeed", f"processes differ: {sorted(losses)}", "Check the installation.")
    yield _scratch(ranks)
    yield _clocks(ranks)


def _spread(node_count: int, node: NodeClass, ranks: Sequence[Rank]) -> Check:
    hosts = Counter(each["host"] for each in ranks)
    found = ", ".join(f"{count} on {host}" for host, count in sorted(hosts.items()))
    if len(hosts) == node_count and set(hosts.values()) == {node.devices}:
        return ok("processes", found)
    return failed("processes", found, f"{node.devices} on each of {node_count} were options.")


def _devices(node: NodeClass, ranks: Sequence[Rank]) -> Check:
    if not node.gpus:
        return skipped("devices", "no GPUs are declared here")
    visible = 1 if node.device_index == "zero" else node.gpus
    wrong = [each for each in ranks if each["devices_visible"] != visible]
    shared = [u for u, n in Counter(each["device_uuid"] for each in ranks).items() if n > 1]
    if not wrong and not shared:
        return ok("devices", f"{visible} visible to each process, none shared")
    found = f"rank {wrong[0]['rank']} sees {wrong[0]['devices_visible']}" if wrong else ""
    shares = f"{len(shared)} device(s) have several processes" if shared else ""
    return failed(
        "devices",
        ", ".join(filter(None, (found, shares))),
        f"{visible} were expected: correct gpu_bind and device_index in your own site file.",
    )


def _binding(site: Site, ranks: Sequence[Rank]) -> Check:
    """Whether each process of a node has its own cores."""
    if not batch_system(site).HAS_QUEUE:
        return skipped("binding", "processes are not bound without a scheduler")
    by_host: dict[str, Counter[int]] = {}
    for each in ranks:
        by_host.setdefault(each["host"], Counter()).update(each["cpus"])
    if all(max(count.values()) == 1 for count in by_host.values()):
        return ok("binding", f"{len(ranks[0]['cpus'])} CPUs to each process, none shared")
    return warning(
        "binding",
        "processes of one node share CPUs",
        "Correct launch (--cpu-bind) and cpus_per_device in your own site file.",
    )


def _network(site: Site, node_count: int, ranks: Sequence[Rank], used: set[str]) -> Check:
    if ranks[0]["device"] == "cpu":
        return skipped("network", "gloo, as there are no GPUs")
    found = ", ".join(sorted(used)) or "NCCL named none"
    if node_count == 1 or (site.network_plugin and used == {site.network_plugin}):
        return ok("network", found)
    expected = site.network_plugin or "one that is not Socket"
    if used and not site.network_plugin and "Socket" not in used:
        return ok("network", found)
    todo = f"{expected} was expected; Socket is many times slower. Check the plug-in's module."
    return failed("network", found, todo)


def _scratch(ranks: Sequence[Rank]) -> Check:
    write = sum(each["scratch"]["write_gb_per_s"] for each in ranks)
    read = sum(each["scratch"]["read_gb_per_s"] for each in ranks)
    return ok("scratch", f"{write:.2f} GB/s written, {read:.2f} GB/s read, all processes together")


def _clocks(ranks: Sequence[Rank]) -> Check:
    """Whether the nodes' clocks agree: each process reads its clock after a barrier."""
    clocks = [float(each["clock"]) for each in ranks]
    apart = max(clocks) - min(clocks)
    if apart <= MOST_CLOCK_SECONDS:
        return ok("clocks", f"within {apart:.2f} s")
    return warning("clocks", f"{apart:.1f} s apart", "Report it to the site's support.")
