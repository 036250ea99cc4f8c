"""A cluster as its scheduler's commands describe it, and the site file that is made of it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.catalog import DeclarationError, parse, table
from pipeline.planning import site_file
from pipeline.scheduler import SchedulerError, node_probe, pbs_cluster, slurm_cluster
from pipeline.scheduler.cluster import Cluster, Limits, NodeKind
from pipeline.site import Site

DESCRIBED = Path(__file__).with_name("described")
SLURM = {
    "sinfo": "sinfo",
    "scontrol show partition": "partition",
    "scontrol show config": "config",
    "scontrol show hostnames": "",
    "scontrol show node": "node",
    "sacctmgr --noheader --parsable2 show associations": "associations",
    "sacctmgr --noheader --parsable2 show qos": "qos",
}
PBS = {"qstat -Bf": "qstat_server", "qstat -Qf": "qstat_queues", "pbsnodes -a": "pbsnodes"}


def answers(files: dict[str, str], **instead: str) -> Callable[..., str]:
    """Commands that print files, or what stands for a file `instead`; "!" fails."""

    def call(*words: str) -> str:
        name = next(name for start, name in files.items() if " ".join(words).startswith(start))
        text = instead.get(name)
        if text == "!":
            raise SchedulerError(f"{words[0]} failed with exit code 1: no accounting")
        if not name:
            return "gpu001\ngpu002\n"
        return (DESCRIBED / f"{name}.txt").read_text() if text is None else text

    return call


def slurm(**instead: str) -> Cluster:
    return slurm_cluster.read(answers(SLURM, **instead), "anna")


def written(folder: Path, cluster: Cluster, partition: str = "", probe: str = "") -> Site:
    """The site that is read from the file that is made of a cluster."""
    devices = node_probe.parse((DESCRIBED / f"{probe}.txt").read_text()) if probe else None
    wanted = cluster.partition(partition)
    choice = site_file.Choice("mine", cluster, wanted, date(2026, 11, 30), devices)
    path = folder / "mine.toml"
    path.write_text(site_file.text(choice))
    return parse(Site, table(path))


def test_slurm_tells_nodes_limits_and_accounts() -> None:
    cluster = slurm()
    assert (cluster.name, cluster.default_qos) == ("campus", "normal")
    assert cluster.accounts == ("physics", "physics_gpu")
    gpu, cpu = cluster.partitions
    assert gpu.kinds[0] == NodeKind(
        *(44, 128, 512, 4, "h100", ("h100", "ib"), 2, 120),
        example="gpu001",
        constraint="h100",
    )
    assert [kind.count for kind in gpu.kinds] == [44, 2]
    assert gpu.limits == Limits(2160, 8, None, 20, 6), "the stricter of partition and its QOS"
    assert gpu.whole_nodes
    assert cpu.limits.max_minutes is None
    assert cpu.is_default
    assert "old" not in {each.name for each in cluster.partitions}, "it is down"
    assert "secret" not in cluster.qos, "this user may not use it"
    assert cluster.qos["long"] == Limits(10_080, 4, None, None, 2)


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("2-00:00:00", 2880),
        ("1-06", 1800),
        ("12:00:00", 720),
        ("30:00", 30),
        ("60", 60),
        ("UNLIMITED", None),
    ],
)
def test_times_of_slurm(words: str, minutes: int | None) -> None:
    assert slurm_cluster.minutes(words) == minutes


def test_the_site_file_says_it(tmp_path: Path) -> None:
    site = written(tmp_path, slurm(), "gpu", "nvidia_smi")
    node = site.nodes["gpu"]
    assert (node.devices, node.cpus_per_device, node.gpus, node.memory_gb) == (4, 30, 4, 512)
    assert (node.partition, node.constraint, node.exclusive) == ("gpu", "h100", True)
    assert (node.device_memory_gb, node.device_order) == (80, (2, 3, 0, 1))
    assert node.device_cpus[0] == "0-15,64-79"
    assert site.nodes["gpu-2"].gpus == 0
    assert (site.accelerator, site.training.node, site.training.qos) == ("cuda", "gpu", "gpu")
    assert (site.qos["gpu"].max_minutes, site.qos["gpu"].partition) == (2160, "gpu")
    assert site.qos["long"].max_minutes == 2160, "no longer than the partition"
    assert site.packs is not None
    text = (tmp_path / "mine.toml").read_text()
    assert "physics, physics_gpu" in text
    assert "# modules = " in text


def test_without_a_node_s_answer_its_devices_are_a_line_to_ask(tmp_path: Path) -> None:
    site = written(tmp_path, slurm(), "gpu")
    assert site.nodes["gpu"].device_memory_gb is None
    lines = site_file.not_found((tmp_path / "mine.toml").read_text())
    assert any(each.startswith("device_memory_gb") for each in lines)
    assert any(each.startswith("device_order") for each in lines)


def test_a_partition_without_devices_is_one_of_cpus(tmp_path: Path) -> None:
    site = written(tmp_path, slurm())
    node = site.nodes["cpu"]
    assert (site.accelerator, site.training.qos, node.devices, node.gpus) == ("cpu", "cpu", 2, 0)
    assert node.cpus_per_device == 60  # as the node that was shown has them
    assert site.packs is None
    assert "it has no limit" in (tmp_path / "mine.toml").read_text()


def test_accounts_that_cannot_be_asked_for_are_a_line(tmp_path: Path) -> None:
    cluster = slurm(associations="!")
    assert (cluster.accounts, cluster.qos) == ((), {})
    written(tmp_path, cluster, "gpu")
    text = (tmp_path / "mine.toml").read_text()
    assert "# accounts and QOS  # not found: sacctmgr: sacctmgr failed with exit code 1" in text
    (unknown,) = slurm(associations="").unknown
    assert unknown.why == "sacctmgr knows none of anna"


def test_gpus_without_a_type_are_guessed_and_said_to_be(tmp_path: Path) -> None:
    text = (
        (DESCRIBED / "sinfo.txt").read_text().replace("gpu:h100:4", "gpu:4").replace("h100", "f1")
    )
    site = written(tmp_path, slurm(sinfo=text), "gpu")
    assert site.accelerator == "cuda"
    assert "# accelerator  # not found: guessed" in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ({"sinfo": "PARTITION AVAIL\n"}, "sinfo printed 'PARTITION AVAIL', where partition, nodes"),
        ({"sinfo": "!"}, "sinfo failed with exit code 1"),
        ({"partition": "nothing here\n"}, "scontrol printed 'nothing here', where PartitionName="),
        ({"partition": ""}, "scontrol shows no partition that is up and has nodes"),
        ({"partition": "PartitionName=gpu MaxTime=soon"}, "'soon' is no time as Slurm writes it"),
    ],
)
def test_slurm_that_says_something_else_is_an_error(instead: dict[str, str], message: str) -> None:
    with pytest.raises(SchedulerError, match=message):
        slurm(**instead)


def test_garbage_of_sacctmgr_is_no_reason_to_give_up() -> None:
    (unknown,) = slurm(qos="one|two").unknown
    assert "sacctmgr printed 'one|two', where 5 fields were expected" in unknown.why


def test_an_unknown_partition_is_named_with_those_there_are() -> None:
    with pytest.raises(
        DeclarationError, match=r"no partition 'fast' that you may use\. It has: gpu, cpu"
    ):
        slurm().partition("fast")


def test_pbs_tells_queues_bins_and_nodes(tmp_path: Path) -> None:
    cluster = pbs_cluster.read(answers(PBS))
    site = written(tmp_path, cluster)
    assert (site.title, site.scheduler, site.template) == ("pbs-01", "pbs", "pbs")
    node = site.nodes["nodes"]
    assert (node.count, node.memory_gb, node.devices, node.constraint) == (
        *(2, 528, 4),
        "ncpus=64:ngpus=4",
    )
    assert site.training.qos == "workq", "the default queue"
    assert set(site.qos) == {"workq", "prod"}, "not those that are closed, or only routed to"
    workq = site.qos["workq"]
    assert (workq.max_minutes, workq.max_nodes) == (4320, 10)
    assert (workq.submitted_jobs, workq.running_jobs) == (20, 4)
    assert [site.max_minutes(nodes, "prod") for nodes in (10, 24, 25, 496)] == [
        180,
        180,
        1440,
        1440,
    ]
    assert "# accounts  # not found: PBS lists none" in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (
            {"pbsnodes": "pbsnodes: nothing"},
            "pbsnodes -a printed 'pbsnodes: nothing', where a name",
        ),
        (
            {"qstat_queues": "Queue: a\n    enabled = False\n"},
            "no queue that is enabled and started",
        ),
    ],
)
def test_pbs_that_says_something_else_is_an_error(instead: dict[str, str], message: str) -> None:
    with pytest.raises(SchedulerError, match=message):
        pbs_cluster.read(answers(PBS, **instead))


def test_a_node_of_amd() -> None:
    found = node_probe.parse((DESCRIBED / "rocm_smi.txt").read_text())
    assert found == node_probe.Devices("rocm", "AMD Instinct MI250X", 2, 64)


def test_devices_that_share_their_cpus_have_no_order() -> None:
    text = (DESCRIBED / "nvidia_smi.txt").read_text().replace("48-63,112-127", "32-47,96-111")
    found = node_probe.parse(text)
    assert found is not None
    assert found.cpus == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuda\nfailed\ntopology\n", "cuda: its table of devices is not as documented: 'failed"),
        ("rocm\n{}", "rocm: its table of devices is not as documented"),
        ("segmentation fault", "a node printed 'segmentation fault', where a table"),
    ],
)
def test_a_node_that_says_something_else_is_an_error(text: str, message: str) -> None:
    with pytest.raises(SchedulerError, match=message):
        node_probe.parse(text)


def test_a_node_without_tools_tells_nothing() -> None:
    assert node_probe.parse("none\n") is None
