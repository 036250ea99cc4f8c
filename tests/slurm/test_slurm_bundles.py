"""Two trainings in one job of a real Slurm, on a node each, under the rules of Frontier's bins."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from ranks import run
from whole_campaign import command, fingerprint

from pipeline.budget.account import Account
from pipeline.budget.ledger import Ledger
from pipeline.campaign import PretrainTask, declare, stored
from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.writing import read_json

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


def soon(root: Path, pattern: str, count: int, controller: "subprocess.Popen[str]") -> list[Path]:
    """Wait until there are so many files of `pattern`, and return them."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        found = sorted(root.glob(pattern))
        if len(found) >= count:
            return found
        assert controller.poll() is None, pattern
        time.sleep(0.02)
    raise AssertionError(pattern)


@pytest.fixture(scope="module")
def bundled(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the ladder; of its bundle one training is asked to save as it begins."""
    root = tmp_path_factory.mktemp("bundled")
    words = command(root, "testbed-frontier", LADDER)
    words[-1] = "nph000"
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as controller:
        scripts = soon(root, "ladder/pretrain/*/logs/*.sbatch", 3, controller)
        (first, _) = [path.parent.parent for path in scripts if path.is_symlink()]
        soon(first, "chain/0001-held.json", 1, controller)
        (first / "SAVE").touch()
        told, _ = controller.communicate(timeout=600)
    assert controller.returncode == 0, told
    return root / "ladder"


@pytest.fixture(scope="module")
def accounts(bundled: Path) -> list[Account]:
    """The accounts of the trainings' jobs, a share each."""
    found = Ledger(bundled / "ledger").accounts().values()
    return [each for each in found if each.stage == "pretrain"]


def test_results_are_those_of_trainings_alone(
    bundled: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """Each is trained again in a link of its own; the data and one are also the tiny campaign's."""
    found, tiny = fingerprint(bundled.parent, "ladder"), fingerprint(uninterrupted)
    trainings = [name for name in found if name.startswith("pretrain/")]
    assert len(trainings) == 3
    for name in trainings:
        alone = TaskFolder(tmp_path / "ladder" / name)
        declare(alone, stored.read(TaskFolder(bundled / name), PretrainTask))
        assert run(alone) == Exit.FINISHED
    assert fingerprint(tmp_path, "ladder") == {name: found[name] for name in trainings}
    shared = found.keys() & tiny.keys()
    assert shared == {"unlabelled.zarr", "pretrain/m-d24-s1"}
    assert {name: found[name] for name in shared} == {name: tiny[name] for name in shared}


def test_who_saved_goes_on_in_a_job_of_its_own(bundled: Path, accounts: list[Account]) -> None:
    shared = [each for each in accounts if each.batch_key]
    assert len({each.job_id for each in shared}) == 1
    tasks = {each.task for each in shared}
    assert len(tasks) == 2
    again = [each for each in accounts if each.task in tasks and not each.batch_key]
    (later,) = again
    links = sorted((bundled / later.task / "links").glob("*.json"))
    told = [read_json(path) or {} for path in links]
    assert [each["outcome"] for each in told] == ["continue", "finished"]
    assert [each["key"] for each in told][1] == later.job_key


def test_the_shares_of_a_job_are_all_of_it(accounts: list[Account]) -> None:
    asked = ["sacct", "-X", "-D", "-P", "-n", "-o", "JobIDRaw,ElapsedRaw,NNodes"]
    rows = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    sacct = {
        job: float(nodes) * int(seconds) for job, seconds, nodes in (r.split("|") for r in rows)
    }
    ours: Counter[str] = Counter()
    for each in accounts:
        ours[each.job_id] += each.charged_node_hours * 3600
    begun = {job: seconds for job, seconds in ours.items() if job in sacct}
    assert begun == pytest.approx({job: sacct[job] for job in begun})
    assert max(begun.values()) > 0
    assert sum(ours.values()) == sum(begun.values())  # sacct lists none that never began


def test_no_job_is_left(bundled: Path, accounts: list[Account]) -> None:
    queued = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout
    assert queued == ""
    assert all(each.end is not None for each in accounts)
