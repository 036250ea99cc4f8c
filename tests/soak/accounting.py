"""Whether ledger and sacct agree on hundreds of real jobs: `python -m tests.soak.accounting`.

Some fail, some are cancelled while they wait or run, some are requeued. The ledger must have every
second of every job that Slurm's accounting has.
"""

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scheduler_fakes import pretraining, tiny_plan

from pipeline.chains.job_manager import JobManager
from pipeline.job import Job
from pipeline.scheduler import NotNowError, connect
from pipeline.site import load_site
from soak.bed import bring_up, slurm

STEP_SECONDS = 0.5


def jobs(manager: JobManager, count: int, dice: random.Random) -> list[Job]:
    """Return jobs of a few seconds on one node or two; one in five fails."""
    link = manager.plan.link(pretraining(manager.plan), 1)
    found = []
    for number in range(1, count + 1):
        code = 3 if dice.random() < 0.2 else 0
        command = ("sh", "-c", f"sleep {dice.uniform(0, 4):.2f}; exit {code}")
        changes = {"key": f"accounting.{number}-{time.time_ns()}", "nodes": dice.choice((1, 1, 2))}
        extra = {"command": command, "before": (), "afterwards": ()}
        found.append(link.model_copy(update=changes | extra))
    return found


def disturb(dice: random.Random, again: Counter[str]) -> str:
    """Cancel or requeue a random job; return what was done, "" if nothing."""
    state = dice.choice(("R", "R", "PD"))
    ids = slurm("squeue", "-h", "-t", state, "-o", "%A", check=False).split()
    if not ids:
        return ""
    job_id = dice.choice(ids)
    if state == "PD" or dice.random() < 0.5:
        slurm("scancel", job_id, check=False)
        return "cancelled while waiting" if state == "PD" else "cancelled while running"
    if again[job_id]:
        return ""
    again[job_id] += 1
    slurm("scontrol", "update", f"jobid={job_id}", "requeue=1", check=False)
    slurm("scontrol", "requeue", job_id, check=False)
    return "requeued"


def run(manager: JobManager, submitted: list[Job], dice: random.Random) -> Counter[str]:
    """Submit all jobs, disturb one in six, and wait until none is left."""
    done: Counter[str] = Counter()
    again: Counter[str] = Counter()
    waiting = list(submitted)
    while waiting or slurm("squeue", "-h", "-o", "%A").split():
        for job in waiting[:8]:
            try:
                manager.submit(job, stage="pretrain", task_key=job.key)
            except NotNowError:
                break
            waiting.remove(job)
        if done.total() < len(submitted) / 6:
            done[disturb(dice, again)] += 1
            del done[""]
        time.sleep(STEP_SECONDS)
    return done


def differences(manager: JobManager) -> tuple[list[str], int, int]:
    """Return the jobs on which ledger and sacct differ, and the total node-seconds of each."""
    rows = slurm(
        "sacct", "-X", "-D", "-P", "-n", "-S", "now-1days", "-o", "JobIDRaw,ElapsedRaw,NNodes"
    )
    theirs: Counter[str] = Counter()
    for row in rows.splitlines():
        job_id, seconds, nodes = row.split("|")
        theirs[job_id] += int(seconds) * int(nodes)
    accounts = list(manager.ledger.accounts().values())
    ours = {each.job_id: each.charged_node_hours * 3600 for each in accounts}
    wrong = [
        f"{job_id}: ledger {seconds:.3f}, sacct {theirs[job_id]}"
        for job_id, seconds in ours.items()
        if abs(seconds - theirs[job_id]) > 1e-6
    ]
    wrong += [f"{each.job_key}: has not ended" for each in accounts if each.end is None]
    wrong += [f"{each.job_key}: holds hours" for each in accounts if each.reserved_node_hours]
    return wrong, round(sum(ours.values())), sum(theirs[job_id] for job_id in ours)


def main() -> int:
    """Run the jobs; print one line with what was done and one per difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root = bring_up() / "accounting"
    dice = random.Random(options.seed)
    shutil.rmtree(root, ignore_errors=True)
    plan = tiny_plan(root, "testbed", project="m4722")
    plan.run.identify()
    manager = JobManager(plan, connect(load_site("testbed"), plan.run))
    began = time.monotonic()
    done = run(manager, jobs(manager, options.jobs, dice), dice)
    time.sleep(10)  # slurmdbd hears of the last ends a little later
    manager.settle()
    wrong, ours, theirs = differences(manager)
    states = Counter(each.state for each in manager.ledger.accounts().values())
    summary = ", ".join(f"{count} {what}" for what, count in [*states.items(), *done.items()])
    sys.stdout.write(f"{options.jobs} jobs in {time.monotonic() - began:.0f} s: {summary}\n")
    sys.stdout.write(f"node-seconds: ledger {ours}, sacct -D {theirs}\n")
    sys.stdout.write("".join(f"{line}\n" for line in wrong) or "they agree on every job\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
