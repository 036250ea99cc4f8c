"""Run one campaign to its end under faults, and check what it leaves behind."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from whole_campaign import fingerprint

from pipeline.budget.ledger import Ledger
from soak.bed import Bed, resume_all
from soak.faults import Fault

MOST_RUNS = 5
AGAIN_SECONDS = 10  # until somebody has read what went wrong, and types the command again
RUN_SECONDS = 900


@dataclass(frozen=True)
class Soaked:
    """The outcome: faults with their times, number of commands typed, and everything wrong.

    `reasons` are the last lines of the runs after which the command was typed again.
    """

    what: str
    done: tuple[Fault, ...]
    runs: int
    seconds: float
    node_hours: float
    jobs: int
    wrong: tuple[str, ...]
    results: dict[str, object]
    reasons: tuple[str, ...]


def soak(
    bed: Bed,
    faults: Sequence[tuple[float, Fault]],
    *,
    qos: str = "",
    project: str = "m4722",
) -> Soaked:
    """Run the campaign and inject each fault at its second; repeat the command until done."""
    words = ["run", str(bed.campaign), "--site", str(bed.site), "--root", str(bed.folder), "--yes"]
    command = [sys.executable, "-m", "pipeline", *words, "--project", project]
    command += ["--qos", qos] if qos else []
    began = time.monotonic()
    code, runs = 1, 0
    injury = Injury(bed, faults)
    while code != 0 and runs < MOST_RUNS + len(faults):
        time.sleep(AGAIN_SECONDS if runs else 0)
        runs += 1
        with bed.log.open("a") as log:
            log.write(f"\n--- run {runs}\n")
            log.flush()
            _cure(bed, project)
            injury.controller = subprocess.Popen(
                command, env=bed.environment, stdout=log, stderr=log, text=True
            )
            injury.begin()
            try:
                code = injury.controller.wait(RUN_SECONDS)
            except subprocess.TimeoutExpired:
                injury.controller.kill()
                code = injury.controller.wait()
    injury.end()
    seconds = time.monotonic() - began
    accounts = Ledger(bed.folder / bed.name / "ledger").accounts().values()
    return Soaked(
        what="; ".join(injury.events),
        done=tuple(injury.done),
        runs=runs,
        seconds=seconds,
        node_hours=sum(each.charged_node_hours for each in accounts),
        jobs=sum(bool(each.job_id) for each in accounts),
        wrong=tuple(_wrong(bed, code)),
        results=fingerprint(bed.folder, bed.name),
        reasons=_reasons(bed),
    )


def _outputs(bed: Bed) -> list[str]:
    """Return what each run of the command has printed, the last one too."""
    return bed.log.read_text().split("\n--- run ")[1:]


def _reasons(bed: Bed) -> tuple[str, ...]:
    """Return the last line of each run but the last; without one for those that were killed."""
    lines = [output.strip().splitlines()[1:] for output in _outputs(bed)[:-1]]
    ends = [each[-1].strip() if each else "" for each in lines]
    told = ("error", "failed", "ended", "Run again", "superseded")
    return tuple(end if any(word in end for word in told) else "killed" for end in ends)


def _cure(bed: Bed, project: str) -> None:
    """Type what the last run advised, before it is run again: only a ledger needs anything."""
    outputs = _outputs(bed)
    if len(outputs) > 1 and "--recover" in outputs[-2]:
        words = [bed.campaign, "--site", bed.site, "--root", bed.folder, "--project", project]
        command = [sys.executable, "-m", "pipeline", "budget", *map(str, words), "--recover"]
        subprocess.run(command, env=bed.environment, check=False, capture_output=True)


class Injury(threading.Thread):
    """A thread that injects each fault at its second, with the controller that runs then."""

    controller: "subprocess.Popen[str]"

    def __init__(self, bed: Bed, faults: Sequence[tuple[float, Fault]]) -> None:
        super().__init__(daemon=True)
        self.bed, self.faults = bed, sorted(faults, key=lambda pair: pair[0])
        self.events: list[str] = []
        self.done: list[Fault] = []
        self.over = threading.Event()

    def begin(self) -> None:
        """Start the clock with the first controller."""
        if not self.is_alive() and not self.events:
            self.start()

    def run(self) -> None:
        """Inject each fault; one that finds no target is tried again until the campaign ends."""
        began = time.monotonic()
        waiting = list(self.faults)
        while waiting:
            after, fault = waiting.pop(0)
            if self.over.wait(max(0.0, began + after - time.monotonic())):
                return
            resume_all()
            effect = fault(self.bed, self.controller)
            if effect is None:
                waiting.append((after, fault))
                continue
            self.events.append(f"after {time.monotonic() - began:.0f} s: {effect}")
            self.done.append(fault)

    def end(self) -> None:
        """Wait for the fault in progress; no other follows."""
        self.over.set()
        if self.ident is not None:
            self.join()


def _wrong(bed: Bed, code: int) -> list[str]:
    """Return everything that is wrong at the end."""
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
