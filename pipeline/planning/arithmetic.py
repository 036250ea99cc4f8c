"""The FLOPs of a plan's trainings against its node-hours and cap."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.budget.estimate import Estimate, estimate
from pipeline.campaign import Campaign, PretrainTask
from pipeline.data.store.manifest import read_manifest
from pipeline.pace import newest
from pipeline.planning.plan import Plan
from pipeline.run import Run


@dataclass(frozen=True)
class Sums:
    """The totals of all trainings with known FLOPs: by walltime, and by sustained FLOP rates.

    `node_hours` are the planned ones; `by_precision` is what `arithmetic_node_hours` would be, did
    all compute in another precision, at the MFU that the site file has for it; `room` is the factor
    by which these trainings alone could grow under the cap, None without a cap.
    """

    count: int
    flops: float
    node_hours: float
    arithmetic_node_hours: float
    room: float | None
    by_precision: Mapping[str, float] = field(default_factory=dict)


def estimates(plan: Plan, campaign: Campaign) -> dict[str, Estimate]:
    """Return the estimate of each pretraining whose FLOPs and devices are known, by its key."""
    node = plan.site.nodes[plan.training_role.node]
    tasks = [step.task for step in plan.steps if isinstance(step.task, PretrainTask)]
    measured: dict[str, list[float]] = {}
    for task in tasks:
        lines = newest(plan.run.task(task.key).metrics)
        rates = [line["mfu"] for line in lines if line.get("mfu")]
        measured.setdefault(repr(task.model), []).extend(rates)
    found = {}
    for task in tasks:
        points = _mean_points(campaign, task, plan.run)
        if points is None:
            continue
        rates = measured[repr(task.model)]
        mean = sum(rates) / len(rates) if rates else None
        found[task.key] = estimate(task.model, task.training, node, points, mean)
    begun = {step.task.key: step.begun for step in plan.steps}
    return {key: each.rest(begun[key]) for key, each in found.items() if each is not None}


def _mean_points(campaign: Campaign, task: PretrainTask, run: Run) -> float | None:
    """Return the points of an event: as declared, or counted where the store is not of `run`."""
    declared = campaign.mean_points(task.store)
    if declared is not None or task.store.absolute().is_relative_to(run.path.absolute()):
        return declared
    manifest = read_manifest(task.store)
    return manifest.points[task.split] / max(1, manifest.events[task.split])


def sums(plan: Plan, found: Mapping[str, Estimate], cap_node_hours: float | None) -> Sums:
    """Return the totals of the estimated trainings."""
    mine = {step.task.key: step.node_hours for step in plan.steps if step.task.key in found}
    total = sum(mine.values())
    by_flops = {
        key: mine[key] * each.device_hours / each.declared_device_hours
        for key, each in found.items()
    }
    room = None
    if cap_node_hours is not None and total:
        room = (cap_node_hours - plan.node_hours + total) / total
    return Sums(
        count=len(found),
        flops=sum(each.flops for each in found.values()),
        node_hours=total,
        arithmetic_node_hours=sum(by_flops.values()),
        room=room,
        by_precision=_by_precision(plan, found, by_flops),
    )


def _by_precision(
    plan: Plan, found: Mapping[str, Estimate], by_flops: Mapping[str, float]
) -> dict[str, float]:
    """Return the node-hours of the trainings, did all compute in a precision that devices have."""
    node = plan.site.nodes[plan.training_role.node]
    rates = {name: peak * node.mfu.get(name, 0.0) for name, peak in node.peak_tflops.items()}
    declared = {
        step.task.key: node.peak_tflops[step.task.training.precision] * found[step.task.key].mfu
        for step in plan.steps
        if isinstance(step.task, PretrainTask) and step.task.key in found
    }
    return {
        name: sum(hours * declared[key] / rate for key, hours in by_flops.items())
        for name, rate in rates.items()
        if rate
    }
