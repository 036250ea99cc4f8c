"""A process whose job has devices computes on one of them, or ends before the first step."""

import pytest

torch = pytest.importorskip("torch")

from made_neutrinos import small as polarbert
from torch import nn

from pipeline.data.errors import BadInput
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.job import ACCELERATOR
from pipeline.training.engine import devices


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this a process of such a job, on a node with so many devices."""

    def made(wanted, built, count=0, **visible):
        monkeypatch.setenv(ACCELERATOR, wanted)
        monkeypatch.setattr(torch.version, "cuda", "12.8" if built == "cuda" else None)
        monkeypatch.setattr(torch.version, "hip", "7.1" if built == "rocm" else None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        for name, value in visible.items():
            monkeypatch.setenv(name, value)

    return made


@pytest.mark.parametrize(
    ("wanted", "built", "count", "rank"),
    [("cpu", "cpu", 0, 7), ("cuda", "cuda", 4, 3), ("rocm", "rocm", 1, 0), ("cpu", "cuda", 4, 0)],
)
def test_who_has_a_device_of_the_site_s_kind_goes_on(machine, wanted, built, count, rank):
    machine(wanted, built, count)
    devices.check(rank)


def test_outside_of_a_job_nothing_is_asked(monkeypatch):
    monkeypatch.delenv(ACCELERATOR, raising=False)
    devices.check(3)
    devices.check_kernels(FM4NPPMamba2(width=32, layers=1, neighbours=2), nn.Linear(1, 1))


@pytest.mark.parametrize("built", ["cpu", "cuda"])
def test_a_torch_for_something_else_is_named(machine, built):
    machine("rocm", built)
    with pytest.raises(BadInput, match=f"the devices are rocm, and torch .* is built for {built}"):
        devices.check(2)


def test_a_device_that_is_hidden_is_said_with_what_hides_it(machine):
    machine("rocm", "rocm", 0, ROCR_VISIBLE_DEVICES="5", CUDA_VISIBLE_DEVICES="5")
    said = "sees 0 device.*CUDA_VISIBLE_DEVICES=5, ROCR_VISIBLE_DEVICES=5.*rocm-smi on that node"
    with pytest.raises(BadInput, match=said):
        devices.check(0)


def test_a_process_more_than_there_are_devices_is_refused(machine):
    machine("cuda", "cuda", 2)
    with pytest.raises(BadInput, match=r"sees 2 device\(s\), and needs number 3"):
        devices.check(3)


def scanned(kernels):
    module = nn.Sequential(nn.Linear(1, 1))
    module[0].choices = {"kernels": kernels}
    return module


def test_plain_scans_on_a_device_are_only_taken_if_they_are_asked_for(machine):
    machine("cuda", "cuda", 4)
    model = FM4NPPMamba2(width=32, layers=1, neighbours=2)
    for of in (model, polarbert(layers=1, backbone="mamba", inner=16)):
        with pytest.raises(BadInput, match="mamba-ssm is missing in this environment"):
            devices.check_kernels(of, scanned("torch"))
        devices.check_kernels(of, scanned("mamba-ssm"))
    devices.check_kernels(model.model_copy(update={"kernels": "torch"}), scanned("torch"))
    machine("cpu", "cpu")
    devices.check_kernels(model, scanned("torch"))
