"""One campaign under one fault: run it to its end, whatever it takes, and look what is left."""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from whole_campaign import fingerprint

from pipeline.budget.ledger import Ledger
from soak.bed import Bed
from soak.faults import Fault

MOST_RUNS = 5
RUN_SECONDS = 900


@dataclass(frozen=True)
class Soaked:
    """How it went: what was done when, how often the command was typed, and what was wrong."""

    what: str
    runs: int
    seconds: float
    node_hours: float
    jobs: int
    wrong: tuple[str, ...]
    results: dict[str, object]


def soak(
    bed: Bed, fault: Fault, after_seconds: float, *, qos: str = "", project: str = "m4722"
) -> Soaked:
    """Run the campaign, do `fault` to it after so many seconds; repeat the command till done."""
    words = ["run", str(bed.campaign), "--site", str(bed.site), "--root", str(bed.folder), "--yes"]
    command = [sys.executable, "-m", "pipeline", *words, "--project", project]
    command += ["--qos", qos] if qos else []
    began = time.monotonic()
    what, code, runs = "", 1, 0
    while code != 0 and runs < MOST_RUNS:
        runs += 1
        with (bed.folder / "controller.log").open("a") as log:
            log.write(f"\n--- run {runs}\n")
            log.flush()
            controller = subprocess.Popen(
                command, env=bed.environment, stdout=log, stderr=log, text=True
            )
            if runs == 1:
                what = _at(controller, after_seconds, bed, fault)
            try:
                code = controller.wait(RUN_SECONDS)
            except subprocess.TimeoutExpired:
                controller.kill()
                code = controller.wait()
    seconds = time.monotonic() - began
    accounts = Ledger(bed.folder / bed.name / "ledger").accounts().values()
    return Soaked(
        what=what,
        runs=runs,
        seconds=seconds,
        node_hours=sum(each.charged_node_hours for each in accounts),
        jobs=sum(bool(each.job_id) for each in accounts),
        wrong=tuple(_wrong(bed, code)),
        results=fingerprint(bed.folder, bed.name),
    )


def _at(controller: "subprocess.Popen[str]", after: float, bed: Bed, fault: Fault) -> str:
    """Do `fault` after so many seconds; return what was done."""
    told: list[str] = []
    timer = threading.Timer(after, lambda: told.append(fault(bed, controller)))
    timer.start()
    while timer.is_alive() and controller.poll() is None:
        time.sleep(0.2)
    timer.cancel()
    timer.join()
    return f"after {after:.0f} s: {told[0] if told else 'it had ended'}"


def _wrong(bed: Bed, code: int) -> list[str]:
    """Return what is not as it should be in the end."""
    run = bed.folder / bed.name
    wrong = [f"the command ended with {code}"] if code else []
    tasks = [path.parent for path in run.glob("*/*/task.toml")]
    open_tasks = [str(task.relative_to(run)) for task in tasks if not (task / "DONE").exists()]
    wrong += [f"not done: {', '.join(open_tasks)}"] if open_tasks or not tasks else []
    left = bed.jobs("R,PD,CG")
    if left:
        time.sleep(8)  # one that was cancelled a moment ago takes Slurm's KillWait
        left = bed.jobs("R,PD,CG")
    wrong += [f"jobs left: {left}"] if left else []
    return wrong + _drift(bed)


def _drift(bed: Bed) -> list[str]:
    """Return where the ledger differs from accounting, to the second."""
    accounts = Ledger(bed.folder / bed.name / "ledger").accounts().values()
    ours = {each.job_id: each.seconds for each in accounts if each.job_id}
    theirs = bed.charged_seconds()
    jobs = sorted(ours.keys() | theirs.keys())
    return [
        f"job {job}: ledger {ours.get(job)} s, sacct {theirs.get(job)} s"
        for job in jobs
        # one that was cancelled before it could start has run for no second, and is listed nowhere
        if ours.get(job) != theirs.get(job, 0 if job in ours else None)
    ]
