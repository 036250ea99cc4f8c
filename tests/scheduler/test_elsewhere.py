"""Scripts written on a laptop run on the machine that they are for."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.campaign import declare, load_campaign
from pipeline.chains import link_settings
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.run import Run
from pipeline.scheduler import Elsewhere
from pipeline.site import load_site

ROOT = Path(__file__).parents[2]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
BASH = shutil.which("bash") or "/bin/bash"
VARIABLES = {"perlmutter": "SCRATCH", "frontier": "MEMBERWORK", "polaris": "EAGLE"}
LAUNCHER = {"perlmutter": "srun", "frontier": "srun", "polaris": "mpiexec"}
SITES = pytest.mark.parametrize("site", VARIABLES)
BY_ROOT = {"polaris": ["--root", "$EAGLE/cosmotron"]}  # whose scratch names no variable


@pytest.fixture
def on_laptop(cosmotron: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the scripts of quickstart, as a laptop writes them that knows no machine."""
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)

    def write(*words: str, **environment: str) -> list[Path]:
        folder = tmp_path / "laptop" / "scripts"
        folder.parent.mkdir()
        monkeypatch.chdir(folder.parent)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        told = cosmotron("plan", "quickstart", "--project", "m4722", *words, "--scripts", folder)
        assert told.code == 0, told.err
        return sorted(folder.iterdir())

    return write


def training_of(scripts: list[Path]) -> Path:
    return next(each for each in scripts if ".pretrain." in each.name)


class Machine:
    """A machine with its own home, scratch, Python and launcher, which keeps its words."""

    def __init__(self, place: Path, site: str) -> None:
        self.place, self.site = place, site
        self.scratch = place / "scratch of ada"
        self.launched = place / "launched"
        self.bin = place / "bin"
        for folder in (self.scratch, self.bin, place / "home"):
            folder.mkdir(parents=True)
        python = f'PYTHONPATH={str(ROOT)!r} exec {sys.executable} "$@"'
        launcher = f"printf '%s\\n' \"$@\" >>{str(self.launched)!r}"
        for name, text in {"python3": python, LAUNCHER[site]: launcher}.items():
            path = self.bin / name
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.place / "home"),
            VARIABLES[self.site]: str(self.scratch),
            "SLURM_JOB_ID": "4242",
            "PBS_JOBID": "4242.polaris-pbs-01",
        }

    def prepare(self) -> Run:
        """Prepare the pretraining's chain, as `cosmotron run` has done there."""
        below = "m4722/cosmotron" if self.site == "frontier" else "cosmotron"
        run = Run(self.scratch / below, "quickstart")
        tasks = load_campaign("quickstart").tasks(run)
        plan = make_plan(tasks, run, load_site(self.site), RunOptions(project="m4722"))
        step = next(each for each in plan.steps if each.task.stage == "pretrain")
        declare(run.task(step.task.key), step.task)
        link_settings.write(plan, step)
        run.task(step.task.key).logs.mkdir()
        return run

    def submit(self, script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a job does, in the folder where it was submitted."""
        submitted = self.place / "submitted"
        submitted.mkdir(exist_ok=True)
        shutil.copy(script, submitted)
        return subprocess.run(
            [BASH, script.name],
            capture_output=True,
            text=True,
            check=False,
            cwd=submitted,
            env=self.environment | environment,
        )


@pytest.mark.parametrize("site", ["perlmutter", "polaris"])
def test_a_script_of_a_laptop_reaches_the_training_on_its_machine(
    on_laptop: Any, tmp_path: Path, site: str
) -> None:
    words = ["--site", site, *BY_ROOT.get(site, [])]
    script = training_of(on_laptop(*words))
    machine = Machine(tmp_path / "machine", site)
    run = machine.prepare()
    (folder,) = (path.parent for path in run.path.glob("pretrain/*/task.toml"))
    done = machine.submit(script)
    assert done.returncode == 0, done.stderr
    launched = machine.launched.read_text().splitlines()
    assert launched[-4:] == ["python3", "-m", "pipeline.training.programs.pretrain", str(folder)]
    assert (folder / "logs" / f"{script.stem}.log").is_file(), "where its other logs are"


@SITES
@pytest.mark.parametrize("image", ["", "cosmotron:cuda"])
def test_it_names_nothing_of_the_laptop(
    on_laptop: Any, tmp_path: Path, site: str, image: str
) -> None:
    if image and load_site(site).container is None:
        pytest.skip("it runs no images")
    words = ["--site", site, *BY_ROOT.get(site, []), *(["--image", image] if image else [])]
    elsewhere = str(tmp_path / "scratch")
    scripts = on_laptop(*words, **{VARIABLES[site]: elsewhere})
    assert len(scripts) >= 3
    for path in scripts:
        text = path.read_text()
        for word in (str(tmp_path), sys.prefix, sys.executable, str(ROOT), "'$SCRATCH", "'$MEMBER"):
            assert word not in text, path.name
        head = [line for line in text.splitlines() if line.startswith(("#SBATCH", "#PBS"))]
        assert not [line for line in head if "$" in line], "a directive expands no variable"
    found = subprocess.run(
        [SHELLCHECK, "--exclude=SC2016", *scripts], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_it_says_at_once_what_is_missing(on_laptop: Any, tmp_path: Path) -> None:
    script = training_of(on_laptop("--site", "perlmutter"))
    machine = Machine(tmp_path / "machine", "perlmutter")
    done = machine.submit(script, SCRATCH="")
    assert done.returncode != 0
    assert "SCRATCH: is not set on this machine" in done.stderr
    done = machine.submit(script, COSMOTRON_PYTHON="/usr/bin/false")
    assert done.returncode == 65
    assert "/usr/bin/false has no Cosmotron: activate its environment" in done.stderr
    done = machine.submit(script)
    assert done.returncode == 65
    assert "link-settings.json: not there. `cosmotron run` writes it on this machine" in done.stderr
    assert not machine.launched.exists()


def test_on_the_machine_itself_it_is_what_run_submits(on_laptop: Any, tmp_path: Path) -> None:
    words = ["--site", "perlmutter", "--root", str(tmp_path / "runs")]
    script = training_of(on_laptop(*words, NERSC_HOST="perlmutter"))
    text = script.read_text()
    assert f"#SBATCH --output={tmp_path}/runs/quickstart/pretrain/" in text
    assert sys.executable in text
    assert "copy=" in text


@pytest.mark.parametrize(
    ("run", "expanded"),
    [
        ("$SCRATCH/cosmotron/a run", "/s c/cosmotron/a run"),
        ("${SCRATCH}x/a", "/s cx/a"),
        ("~/a", "/u/ada/a"),
        ('/eagle/$PROJ/`a`"$', '/eagle/p/`a`"$'),
    ],
)
def test_the_run_folder_is_what_its_shell_makes_of_it(run: str, expanded: str) -> None:
    machine = Elsewhere(run)
    words = [f"{run}/pretrain/m 0", f"--volume={run}:{run}", "", "a b", sys.executable]
    line = " ".join(map(machine.quote, words))
    text = f"run_folder={machine.run_folder}\npython=py\nprintf '%s\\n' {line}"
    told = subprocess.run(
        [BASH, "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={"SCRATCH": "/s c", "HOME": "/u/ada", "PROJ": "p"},
    ).stdout
    volume = f"--volume={expanded}:{expanded}"
    assert told.splitlines() == [f"{expanded}/pretrain/m 0", volume, "", "a b", "py"]


def test_the_scratch_of_frontier_is_the_projects(on_laptop: Any) -> None:
    scripts = on_laptop("--site", "frontier")
    assert all("/m4722/cosmotron/quickstart" in each.read_text() for each in scripts)


def test_a_run_below_the_project_wants_its_name(cosmotron: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MEMBERWORK", "/orion/user")
    where = ("quickstart", "--site", "frontier")
    told = cosmotron("run", *where)
    assert "COSMOTRON_PROJECT is not set on this machine. Give --project." in told.words
    told = cosmotron("status", *where)
    assert "no such run. COSMOTRON_PROJECT is not set here: set it, or name the run" in told.words
    monkeypatch.setenv("COSMOTRON_PROJECT", "abc123")
    assert "/orion/user/abc123/cosmotron/quickstart: no such run. Start" in (
        cosmotron("status", *where).words
    )
