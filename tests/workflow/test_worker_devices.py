"""Each worker of a pilot sees its own device, or none."""

import os
import subprocess

import pytest

from pipeline.job import VISIBLE
from pipeline.site import load_site
from pipeline.workflow.devices import devices, on_device

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
    assert devices(load_site(site), node, 2) == 0
