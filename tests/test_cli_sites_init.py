"""The verb sites init, with commands that answer as a scheduler does, or do not."""

from pathlib import Path

import pytest

from pipeline.outcome import Exit
from pipeline.site import load_site

DESCRIBED = Path(__file__).parent / "scheduler" / "described"
SCONTROL = """case "$2" in
    partition) cat {0}/partition.txt ;;
    config) cat {0}/config.txt ;;
    hostnames) echo gpu001 ;;
    node) cat {0}/node.txt ;;
esac"""
SACCTMGR = """case "$4" in
    qos) cat {0}/qos.txt ;;
    *) cat {0}/associations.txt ;;
esac"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder that is the whole PATH but for a shell's tools: what is put there is at hand."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("sinfo", "scontrol", "sacctmgr", "qstat", "pbsnodes"):
        for real in ("/usr/bin", "/bin"):
            if (Path(real) / name).exists():  # a real scheduler's is hidden
                monkeypatch.setenv("PATH", str(folder))
    for tool in ("cat", "sh", "bash", "env"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(f"/bin/{tool}")

    def put(name, body):
        (folder / name).write_text(f"#!/bin/sh\n{body.format(DESCRIBED)}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def slurm(commands):
    commands("sinfo", "cat {0}/sinfo.txt")
    commands("scontrol", SCONTROL)
    commands("sacctmgr", SACCTMGR)
    return commands


def test_it_writes_a_site_that_a_plan_can_be_made_for(cosmotron, slurm, tmp_path):
    file = tmp_path / "mine.toml"
    told = cosmotron("sites", "init", file, "--partition", "gpu")
    assert told.code == 0, told.err
    assert "campus (slurm), 2 partition(s) or queue(s), 3 QOS, 2 account(s)" in told.words
    assert "Trainings run in gpu: 44 node(s) of 4 device(s), 512 GB." in told.words
    assert f"cosmotron sites check {file} --project YOURS --job" in told.words
    assert load_site(str(file)).name == "mine"
    planned = cosmotron("plan", "quickstart", "--site", file, "--root", tmp_path)
    assert planned.code == 0, planned.err


def test_a_file_that_is_there_is_overwritten_only_by_force(cosmotron, slurm, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("precious")
    told = cosmotron("sites", "init", file)
    assert told.code == Exit.USAGE
    assert "is there already. Name another file, or overwrite it: --force." in told.words
    assert file.read_text() == "precious"
    assert cosmotron("sites", "init", file, "--force").code == 0
    assert load_site(str(file)).training.qos == "cpu"


def test_a_name_that_no_site_could_have_is_refused(cosmotron, slurm, tmp_path):
    told = cosmotron("sites", "init", tmp_path / "mine.txt")
    assert told.code == Exit.USAGE
    assert "a site file ends in .toml" in told.words


def test_a_machine_without_a_scheduler_says_so(cosmotron, commands, tmp_path):
    told = cosmotron("sites", "init", tmp_path / "mine.toml")
    assert told.code != 0
    assert "no scheduler's commands: sinfo (slurm), pbsnodes (pbs)" in told.words
    assert "Run it on a login node" in told.words
    assert not (tmp_path / "mine.toml").exists()


@pytest.mark.parametrize(
    ("command", "body", "message"),
    [
        ("sinfo", "echo 'slurm_load_partitions: Unable to contact slurm' >&2; exit 1", "Unable to"),
        ("sinfo", "echo garbage", "sinfo printed 'garbage', where partition, nodes"),
        ("scontrol", "exit 3", "scontrol failed with exit code 3"),
    ],
)
def test_a_command_that_fails_writes_nothing(cosmotron, slurm, tmp_path, command, body, message):
    slurm(command, body)
    told = cosmotron("sites", "init", tmp_path / "mine.toml")
    assert told.code != 0
    assert message in told.words
    assert not (tmp_path / "mine.toml").exists()


def test_a_node_tells_its_devices(cosmotron, slurm, tmp_path):
    slurm("srun", f'echo "$@" > {tmp_path}/asked; cat {{0}}/nvidia_smi.txt')
    words = ("--partition", "gpu", "--ask-node", "--project", "physics_gpu")
    told = cosmotron("sites", "init", tmp_path / "mine.toml", *words)
    assert told.code == 0, told.err
    asked = (tmp_path / "asked").read_text()
    assert "--partition=gpu --constraint=h100 --account=physics_gpu --gpus-per-node=4" in asked
    node = load_site(str(tmp_path / "mine.toml")).nodes["gpu"]
    assert (node.device_memory_gb, node.device_order) == (80, (2, 3, 0, 1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'srun: error: Unable to allocate' >&2; exit 1", "No node was asked: srun failed"),
        ("echo none", "A node of gpu has neither nvidia-smi nor rocm-smi."),
    ],
)
def test_a_node_that_tells_nothing_leaves_lines_to_ask(cosmotron, slurm, tmp_path, body, message):
    slurm("srun", body)
    told = cosmotron("sites", "init", tmp_path / "mine.toml", "--partition", "gpu", "--ask-node")
    assert told.code == 0, told.err
    assert message in told.words
    assert "# device_memory_gb = " in (tmp_path / "mine.toml").read_text()


def test_pbs_runs_nothing_on_a_node(cosmotron, commands, tmp_path):
    queries = "case $1 in -Bf) cat {0}/qstat_server.txt ;; *) cat {0}/qstat_queues.txt ;; esac"
    commands("qstat", queries)
    commands("pbsnodes", "cat {0}/pbsnodes.txt")
    told = cosmotron("sites", "init", tmp_path / "mine.toml", "--ask-node")
    assert told.code == 0, told.err
    assert "No node was asked: pbs: no command runs on a node without a script." in told.words
    assert load_site(str(tmp_path / "mine.toml")).scheduler == "pbs"
