"""Each worker of a pilot sees its own device, or none."""

import os
import subprocess

import pytest
from scheduler_fakes import FakeScheduler, tiny_plan

from pipeline.chains.job_manager import JobManager
from pipeline.job import VISIBLE
from pipeline.site import load_site
from pipeline.workflow import pilots
from pipeline.workflow.devices import cpu_affinity, devices, on_device
from pipeline.workflow.pilots import _executor

SHOWN = ["env"]


def seen(site, node, workers, number):
    """What a program sees that the worker of that number starts: as Parsl sets it, and then we."""
    parsl = dict.fromkeys(VISIBLE, str(number)) if devices(site, node, workers) else {}
    given = {"PATH": os.environ["PATH"], "COSMOTRON_ACCELERATOR": site.accelerator} | parsl
    line = on_device(SHOWN, site, node, workers)
    done = subprocess.run(
        ["bash", "-c", line], env=given, capture_output=True, text=True, check=True
    )
    return dict(each.split("=", 1) for each in done.stdout.splitlines())


def test_a_worker_on_frontier_asks_for_its_die_by_one_name_alone():
    """By both names it would ask for the n-th of one die (Parsl, issue 3858)."""
    frontier = load_site("frontier")
    found = seen(frontier, "gcd", 8, 5)
    assert found["ROCR_VISIBLE_DEVICES"] == "5"
    assert "CUDA_VISIBLE_DEVICES" not in found
    assert found["COSMOTRON_ACCELERATOR"] == "rocm"


def test_a_worker_on_perlmutter_has_its_own_gpu():
    found = seen(load_site("perlmutter"), "gpu", 4, 3)
    assert found["CUDA_VISIBLE_DEVICES"] == "3"


def test_workers_that_outnumber_the_gpus_compute_on_cpus():
    """All sixteen would take the first GPU of the node."""
    found = seen(load_site("polaris"), "gpu", 16, 7)
    assert {found[name] for name in VISIBLE} == {""}
    assert found["COSMOTRON_ACCELERATOR"] == "cpu"


@pytest.mark.parametrize(("site", "node"), [("local", "laptop"), ("perlmutter", "cpu")])
def test_without_devices_a_command_is_left_as_it_is(site, node):
    assert on_device(["echo", "a b"], load_site(site), node, 2) == "echo 'a b'"
    assert devices(load_site(site), node, 2) == []
    assert cpu_affinity(load_site(site), node, 2) == "none"


def placed(site, node, workers):
    """The (device, CPUs) of each worker, by the worker pool's own reading of our settings."""
    cpus = cpu_affinity(load_site(site), node, workers)
    ranges = cpus.removeprefix("list:").split(":")
    assert len(ranges) == workers, "Parsl refuses any other number"
    return list(zip(devices(load_site(site), node, workers), ranges, strict=True))


def test_a_worker_has_the_cpus_that_are_nearest_to_its_device():
    """Frontier user guide: cores 0 to 7 are near die 4, 56 to 63 near die 1."""
    frontier = placed("frontier", "gcd", 8)
    assert frontier[0] == ("4", "1-7")
    assert frontier[6:] == [("0", "49-55"), ("1", "57-63")]
    assert placed("perlmutter", "gpu", 4)[3] == ("0", "48-63,112-127")


def test_fewer_workers_than_devices_have_the_first_ones():
    assert placed("frontier", "gcd", 2) == [("4", "1-7"), ("5", "9-15")]


def test_a_site_that_does_not_say_which_cpus_are_near_binds_nobody():
    site = load_site("perlmutter")
    node = site.nodes["gpu"].model_copy(update={"device_cpus": (), "device_order": ()})
    site = site.model_copy(update={"nodes": {"gpu": node}})
    assert devices(site, "gpu", 4) == ["0", "1", "2", "3"]
    assert cpu_affinity(site, "gpu", 4) == "none"


def test_the_executor_of_packs_has_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(pilots, "address_by_interface", lambda _: "127.0.0.1")
    site = load_site("frontier")
    plan = tiny_plan(tmp_path, "frontier", project="m1")
    manager = JobManager(plan, FakeScheduler())
    executor = _executor(manager, "pack")
    assert executor.available_accelerators == ["4", "5", "2", "3", "6", "7", "0", "1"]
    assert executor.cpu_affinity.split(":")[1:] == list(site.nodes["gcd"].device_cpus)
