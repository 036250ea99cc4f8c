"""The ledger follows accounting, whether or not a controller lives.

A link records its own end as far as it knows it; whoever looks at the ledger asks accounting first;
and after records were lost, the jobs are found again by their scripts and links.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import clock
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import BY_ITS_LINK, Kind, Record
from pipeline.budget.recovery import Lost, mark_lost
from pipeline.chains import link_settings
from pipeline.chains.job_manager import JobManager
from pipeline.job import Job, JobStatus, State, number_of
from pipeline.outcome import RunError
from pipeline.pace import links
from pipeline.planning.packing import node_count
from pipeline.planning.plan import PACK, PILOT, Step
from pipeline.run import TaskFolder
from pipeline.scheduler import SchedulerError

STARTED = "COSMOTRON_STARTED"


@dataclass(frozen=True)
class Settled:
    """How many records the ledger lacked, and why accounting did not answer, empty if it did."""

    records: int
    problem: str = ""


def settle_all(manager: JobManager) -> Settled:
    """Find jobs whose submission was not answered, and ask accounting about all open ends."""
    found = 0
    try:
        found += manager.recover()
        found += len(manager.settle())
        found += len(manager.recheck())
    except SchedulerError as error:
        return Settled(found, str(error))
    return Settled(found)


def record_own_end(manager: JobManager, step: Step, number: int, job_id: str, code: int) -> None:
    """Record what this process, at the end of link `number` in the job `job_id`, knows of it.

    Its charge is up to now; accounting is asked when it can know the end. Outside of a batch
    script, where the start is not known, nothing is recorded.
    """
    started = os.environ.get(STARTED)
    account = manager.ledger.accounts().get(manager.plan.link(step, number).key)
    if not started or account is None or account.end is not None:
        return
    began, now = float(started), clock.time()
    status = JobStatus(
        id=job_id,
        key=account.known_as,
        state=State.FAILED if code else State.COMPLETED,
        nodes=account.nodes,
        seconds=max(0, round(now - began)),
        start=int(began),
        end=int(max(began, now)),
        exit_code=code,
    )
    found = {account.job_key: status}
    reconcile(manager.ledger, found, manager.plan.site, manager.role_of, BY_ITS_LINK)


def settle_links(manager: JobManager, tasks: set[str], mine: str) -> str:
    """Ask accounting of the ends that earlier links of `tasks` recorded themselves.

    The job `mine` has not ended. Returns why accounting did not answer, empty if it did.
    """
    unsettled = manager.ledger.unsettled(manager.plan.site.name)
    ids = {each.job_id for each in unsettled if each.provisional and each.task in tasks} - {mine}
    try:
        manager.settle(sorted(ids))
    except SchedulerError as error:
        return str(error)
    return ""


def restore(manager: JobManager) -> tuple[Lost, int]:
    """Mark lost records as lost, find their jobs again, and settle them; return what and how many.

    Each job of the run has a batch script, in the logs of its task or of the pilots. One that the
    ledger does not know as submitted is looked up by its key; where the scheduler has forgotten it,
    the record of its link says how long it took.

    Raises:
        SchedulerError: The scheduler does not answer; type the same again.
        OSError: The ledger cannot be written.
    """
    lost = mark_lost(manager.ledger.folder)
    known = {key for key, each in manager.ledger.accounts().items() if each.job_id}
    scripts = {path.stem: path for path in _scripts(manager.plan.run.path)}
    nodes = _held_nodes(scripts)
    found = [
        _submission(manager, key, path, nodes[key])
        for key, path in scripts.items()
        if key not in known
    ]
    submissions = [each for each in found if each is not None]
    for submission in submissions:
        manager.ledger.append(submission)
    manager.recover()
    manager.settle()
    manager.recheck()
    ids = {each.job_id for each in submissions}
    manager.record_lost([each for each in ids if manager.status(each).state is State.UNKNOWN])
    return lost, len(submissions)


def _scripts(run: Path) -> list[Path]:
    """Return the batch scripts of links and pilots; that of a part is a link to its bundle's."""
    return sorted((*run.glob("*/*/logs/*.sbatch"), *run.glob("parsl/*.sbatch")))


def _submission(manager: JobManager, key: str, script: Path, nodes: float) -> Record | None:
    """Return the record of the submission of the job `key`, found again; None if there was none."""
    folder, since = TaskFolder(script.parent.parent), script.lstat().st_mtime
    batch_key = _batch_key(script)
    found = Record(
        kind=Kind.SUBMIT,
        time=since,
        site=manager.plan.site.name,
        stage=folder.path.parent.name,
        task=f"{folder.path.parent.name}/{folder.path.name}",
        job_key=key,
        job_id=manager.scheduler.find(batch_key or key, since) or _known_id(folder, key),
        batch_key=batch_key,
        nodes=nodes,
        note="found again",
    )
    link = _link(folder, key)
    if link is not None:
        found = found.model_copy(update={"qos": link[0].qos})
    if script.parent == manager.plan.run.parsl:
        kind = PACK if f".{PACK}." in key else PILOT
        found = found.model_copy(update={"stage": kind, "task": kind})
    return found if found.job_id else None


def _known_id(folder: TaskFolder, key: str) -> str:
    """Return the id of a job that the scheduler has forgotten, as its link recorded it."""
    mine = [each for each in links(folder) if each.key == key]
    return (mine[-1].job_id or key) if mine else ""


def _batch_key(script: Path) -> str:
    """Return the key of the bundle whose script a part's is a link to, empty for any other job."""
    return script.readlink().stem if script.is_symlink() else ""


def _held_nodes(scripts: Mapping[str, Path]) -> dict[str, float]:
    """Return the nodes of each link by the settings beside its task, 0 where there are none.

    Those of a bundle's job are shared by the devices of its parts.
    """
    found = dict.fromkeys(scripts, 0.0)
    jobs: dict[str, list[tuple[Job, int]]] = {}
    for key, script in scripts.items():
        link = _link(TaskFolder(script.parent.parent), key)
        if link is not None:
            jobs.setdefault(_batch_key(script) or key, []).append(link)
    for together in jobs.values():
        parts = tuple(part for part, _ in together)
        sizes = [(part.nodes, part.processes_per_node) for part in parts]
        nodes = node_count(sizes, together[0][1])
        job = parts[0].model_copy(update={"parts": parts, "nodes": nodes})
        found |= zip((part.key for part in parts), job.held_nodes, strict=True)
    return found


def _link(folder: TaskFolder, key: str) -> tuple[Job, int] | None:
    """Return the job of a link alone and the devices of a node, None without its settings."""
    try:
        plan, step = link_settings.read(folder)
    except RunError:
        return None
    job = plan.link(step, number_of(key))
    return job, plan.site.nodes[job.node].devices
