"""The tiny campaign through a real Slurm: the same results, and a ledger that agrees with sacct."""

import json
import subprocess
from pathlib import Path

import pytest
from whole_campaign import command, fingerprint, of_modes, run_campaign, with_modes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def through_slurm(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a run whose every job went through Slurm."""
    root = tmp_path_factory.mktemp("through-slurm")
    ended = run_campaign(root, "testbed")
    assert ended.returncode == 0, ended.stderr
    return root


def _sacct(fields: str) -> list[list[str]]:
    asked = ["sacct", "-X", "-P", "-n", "-o", fields]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split("|") for line in lines]


def _ended(root: Path) -> dict[str, dict[str, float]]:
    """Return the last record of each job's end in the ledger, by job key.

    Tasks that ran in a pilot have a record too, but no job of their own.
    """
    records = [json.loads(path.read_text()) for path in sorted(root.glob("tiny/ledger/*.json"))]
    ends = [each for each in records if each["kind"] in ("end", "reconcile")]
    return {each["job_key"]: each for each in ends if each["job_id"]}


def test_results_equal_those_without_a_scheduler(through_slurm: Path, uninterrupted: Path) -> None:
    assert fingerprint(through_slurm) == fingerprint(uninterrupted)


def test_the_ledger_agrees_with_sacct_to_the_second(through_slurm: Path) -> None:
    ledger = {key: (each["seconds"], each["nodes"]) for key, each in _ended(through_slurm).items()}
    accounting = {
        name: (int(seconds), float(nodes))
        for name, seconds, nodes in _sacct("JobName%200,ElapsedRaw,NNodes")
        if name in ledger
    }
    assert len(ledger) >= 5
    assert ledger == accounting


def test_node_hours_are_nodes_times_hours(through_slurm: Path) -> None:
    for each in _ended(through_slurm).values():
        assert each["node_hours"] == pytest.approx(each["nodes"] * each["seconds"] / 3600)


def test_pretraining_spans_two_nodes(through_slurm: Path) -> None:
    (result,) = through_slurm.glob("tiny/pretrain/*/result.json")
    assert json.loads(result.read_text())["processes"] == 2
    (job,) = [each for each in _ended(through_slurm).values() if each["stage"] == "pretrain"]
    assert job["nodes"] == 2


def test_no_job_is_left(through_slurm: Path) -> None:
    queued = subprocess.run(
        ["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(queued) & set(_ended(through_slurm))


def test_a_dead_login_process_costs_nothing(
    slurm: dict[str, str], uninterrupted: Path, tmp_path: Path
) -> None:
    """The controller dies while a training runs on two nodes: the job is adopted, not redone."""
    campaign = with_modes(tmp_path, "frozen")
    with subprocess.Popen(
        command(tmp_path, "testbed", campaign), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as controller:
        while not list(tmp_path.glob("tiny/pretrain/*/metrics.jsonl")):
            assert controller.poll() is None
        controller.kill()
    ended = run_campaign(tmp_path, "testbed", campaign)
    assert ended.returncode == 0, ended.stderr
    assert fingerprint(tmp_path) == of_modes(fingerprint(uninterrupted), "frozen")
    jobs = _ended(tmp_path)
    assert len([each for each in jobs.values() if each["stage"] == "pretrain"]) == 1
    accounting = {name: int(seconds) for name, seconds in _sacct("JobName%200,ElapsedRaw")}
    assert {key: each["seconds"] for key, each in jobs.items()} == {
        key: accounting[key] for key in jobs
    }
