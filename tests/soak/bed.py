"""The test bed for one campaign under soak: its jobs, its accounting, commands that can fail."""

import os
import random
import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

CAMPAIGN = Path(__file__).with_name("campaign.toml")
TESTBED = Path(__file__).parent.parent / "slurm" / "testbed"
SITES = Path(__file__).parent.parent.parent / "sites"
LINK_MINUTES, LINK_QUEUES, PILOT_QUEUE = 1, {"regular", "preempt"}, "premium"

# The clock of a controller is off where Python imports this; jobs do not inherit it.
SKEWED = Path(__file__).with_name("skewed")
SKEW = "COSMOTRON_SOAK_SKEW"
# While a file of its name lies beside it, the command misbehaves.
WRAPPERS = {
    "sbatch": 'rm "$0.broken"; {real} "$@" >/dev/null; exit 0',
    "sacct": 'sleep $((RANDOM % 8)); [ $((RANDOM % 2)) = 0 ] || {{ echo "sacct: error: slurmdbd: '
    'Connection refused" >&2; exit 1; }}; exec {real} "$@"',
}


def slurm(*words: str, check: bool = True) -> str:
    """Return the output of a Slurm command."""
    return subprocess.run(words, capture_output=True, text=True, check=check).stdout


@dataclass
class Bed:
    """A running Slurm, a folder for the run of one campaign, and a random generator."""

    folder: Path
    dice: random.Random
    campaign: Path = CAMPAIGN
    began: float = field(default_factory=time.time)
    skew_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The campaign's name, with which the keys of its jobs begin."""
        return str(tomllib.loads(self.campaign.read_text())["name"])

    @property
    def commands(self) -> Path:
        """The folder of commands that can be made to misbehave."""
        return self.folder / "commands"

    def prepare(self, site: str) -> None:
        """Make the folder, the commands in it, and a site whose links last a minute."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self.commands.mkdir(parents=True)
        for name, broken in WRAPPERS.items():
            real = f"env -u {SKEW} {shutil.which(name)}"
            script = self.commands / name
            text = broken.format(real=real)
            when = f'if [ -e "$0.broken" ]; then {text}; fi'
            script.write_text(f'#!/bin/bash\n{when}\nexec {real} "$@"\n')
            script.chmod(0o755)
        declared = tomllib.loads((SITES / f"{site}.toml").read_text())
        for name in LINK_QUEUES & declared.get("qos", {}).keys():
            declared["qos"][name]["max_minutes"] = LINK_MINUTES
        if declared.get("qos"):
            declared["pilot"]["role"]["qos"] = PILOT_QUEUE
        self.site.write_text(tomli_w.dumps(declared))

    @property
    def site(self) -> Path:
        """The declaration of the machine."""
        return self.folder / "site.toml"

    @property
    def log(self) -> Path:
        """What each run of the command printed; not on the scratch, which may be full."""
        return Path(tempfile.gettempdir(), f"cosmotron-{self.folder.name}.log")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a controller, whose clock may be off."""
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        found = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        if self.skew_seconds:
            ours = [str(SKEWED), *filter(None, [os.environ.get("PYTHONPATH", "")])]
            found |= {SKEW: str(self.skew_seconds), "PYTHONPATH": os.pathsep.join(ours)}
        return found

    def jobs(self, states: str, name: str = "") -> list[tuple[str, str]]:
        """Return (id, nodes) of the campaign's jobs in `states`, with `name` in their key."""
        rows = slurm("squeue", "-h", "-t", states, "-o", "%A|%N|%j").splitlines()
        found = (row.split("|", 2) for row in rows)
        ours = ((job, nodes, key) for job, nodes, key in found if key.startswith(f"{self.name}."))
        return [(job, nodes) for job, nodes, key in ours if name in key]

    def any_job(self, name: str = "", seconds: float = 60.0) -> tuple[str, str] | None:
        """Return (id, nodes) of a running job, or None if none runs within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running = self.jobs("R", name)
            if running:
                return self.dice.choice(running)
            time.sleep(0.3)
        return None

    def charged_seconds(self) -> dict[str, int]:
        """Return the seconds of each of the campaign's jobs, by id: every attempt counts."""
        since = time.strftime("%FT%T", time.localtime(self.began))
        command = ("sacct", "-X", "-D", "-P", "-n", f"--starttime={since}")
        rows = slurm(*command, "-o", "JobIDRaw,ElapsedRaw,JobName").splitlines()
        found: dict[str, int] = {}
        for job, seconds, key in (row.split("|", 2) for row in rows):
            if key.startswith(f"{self.name}."):
                found[job] = found.get(job, 0) + int(seconds)
        return found


def resume(node: str) -> None:
    """Bring a node back; Slurm refuses until the processes that ran there are gone."""
    for _ in range(20):
        slurm("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        if "down" not in slurm("sinfo", "-h", "-n", node, "-o", "%T"):
            return
        time.sleep(1)


def resume_all() -> None:
    """Bring back what is down or drained: a node with a job that Slurm had forgotten is drained."""
    for node in slurm("sinfo", "-h", "-N", "-t", "down,drain", "-o", "%N").split():
        slurm("scontrol", "update", f"nodename={node}", "state=resume", check=False)


def testbed(verb: str) -> None:
    """Run one of the test bed's own verbs."""
    subprocess.run([TESTBED, verb], check=True, capture_output=True)


def bring_up() -> Path:
    """Bring the test bed up, let Slurm's commands find it, and return its scratch folder."""
    testbed("up")
    printed = subprocess.run([TESTBED, "env"], check=True, capture_output=True, text=True).stdout
    name, _, value = printed.removeprefix("export ").strip().partition("=")
    os.environ[name] = value
    return Path(value).parent.parent / "scratch"
