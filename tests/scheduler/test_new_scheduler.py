"""A new scheduler is one class and one word: here a machine that runs jobs under another name."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.campaign import load_campaign
from pipeline.catalog import DeclarationError
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.planning.scripts import write_scripts
from pipeline.run import Run
from pipeline.scheduler import batch_system, connect
from pipeline.scheduler.interface import SYSTEMS
from pipeline.scheduler.local import LocalScheduler
from pipeline.site import Site, load_site

TINY = Path(__file__).parent.parent / "campaigns" / "tiny.toml"


class FluxScheduler(LocalScheduler):
    """A scheduler with a queue, bundles and a job id of its own."""

    NAME: ClassVar[str] = "flux"
    HAS_QUEUE: ClassVar[bool] = True
    RUNS_BUNDLES: ClassVar[bool] = True
    JOB_ID: ClassVar[str] = "$FLUX_JOB_ID"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setitem(SYSTEMS, FluxScheduler.NAME, FluxScheduler)
    return load_site("local").model_copy(update={"name": "cluster", "scheduler": "flux"})


def test_a_campaign_is_planned_with_it(site: Site, tmp_path: Path) -> None:
    run = Run(tmp_path, "tiny")
    plan = make_plan(load_campaign(str(TINY)).tasks(run), run, site, RunOptions())
    assert isinstance(connect(site, run), FluxScheduler)
    (script, *_) = write_scripts(plan, tmp_path / "scripts")
    text = script.read_text()
    assert 'export COSMOTRON_JOB_ID="$FLUX_JOB_ID"' in text
    assert "pipeline.chains.continuation begin" in text, "its links continue without a controller"


def test_a_site_that_names_no_scheduler_we_know(tmp_path: Path) -> None:
    site = load_site("local").model_copy(update={"scheduler": "lsf"})
    with pytest.raises(
        DeclarationError, match=r"local: no scheduler 'lsf'\. Known: slurm, pbs, loc"
    ):
        batch_system(site)


def test_each_scheduler_has_its_own_name() -> None:
    assert {name: each.NAME for name, each in SYSTEMS.items()} == {name: name for name in SYSTEMS}


def test_no_code_compares_the_name_of_a_scheduler() -> None:
    package = Path(sys.modules["pipeline"].__path__[0])
    found = subprocess.run(
        ["grep", "-rnE", r"scheduler *(==|!=|in|not in) ", "--include=*.py", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in found.stdout.splitlines() if "interface.py" not in line] == []
