"""The choice of kernels is told, and both are given the same thing in the layout they take."""

import sys
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")

from made_batches import packed

from pipeline.data.errors import BadInput
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn import kernels

SIZES = [5, 70, 1, 30]
without_device = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")


@without_device
def test_kernels_that_are_not_there_are_refused():
    with pytest.raises(BadInput, match=r'needs a CUDA or ROCm device .*Ask for kernels = "torch"'):
        kernels.chosen("fm4npp-mamba2", "mamba-ssm")


@without_device
@pytest.mark.parametrize("asked", ["auto", "torch"])
def test_without_a_device_it_is_torch_and_says_so(asked):
    assert kernels.chosen("fm4npp-mamba2", asked) == ("torch", kernels.ssd)
    model = FM4NPPMamba2(width=32, layers=1, kernels=asked)
    assert NeighbourPredictor(model).backbone.kernels == "torch"


def test_with_device_and_package_auto_takes_the_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "_are_there", lambda: True)
    assert kernels.chosen("fm4npp-mamba", "auto") == ("mamba-ssm", kernels.selective_kernel)
    assert kernels.chosen("fm4npp-mamba", "torch") == ("torch", kernels.selective)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def stand_in(monkeypatch, place, **functions):
    """Put functions of the package's documented signatures where its own would be."""
    names = place.split(".")
    for end in range(1, len(names) + 1):
        module = ModuleType(".".join(names[:end]))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, function in functions.items():
        setattr(module, name, function)


def test_mamba2_s_kernel_is_given_one_sequence_and_where_events_begin(monkeypatch):
    def reference(x, dt, A, B, C, chunk_size, seq_idx):  # noqa: N803 - the package's names
        (length,) = x.shape[1:2]
        state, rows = 0.0, []
        for p in range(length):
            kept = (A * dt[0, p]).exp()[:, None, None] * state
            state = kept * bool(p and seq_idx[0, p] == seq_idx[0, p - 1])
            state = state + dt[0, p][:, None, None] * x[0, p][:, :, None] * B[0, p]
            rows.append(state @ C[0, p, 0])
        return torch.stack(rows).unsqueeze(0)

    stand_in(monkeypatch, "mamba_ssm.ops.triton.ssd_combined", mamba_chunk_scan_combined=reference)
    torch.manual_seed(0)
    batch, points = packed(SIZES), sum(SIZES)
    values = [random(points, 4, 8), random(points, 4).exp(), -random(4).exp()]
    values += [random(points, 3), random(points, 3)]
    ours = kernels.ssd(*values, batch)
    torch.testing.assert_close(kernels.ssd_kernel(*values, batch), ours)


def test_mamba_s_kernel_is_given_a_row_for_each_event(monkeypatch):
    def reference(u, delta, A, B, C):  # noqa: N803 - the package's names
        state, columns = torch.zeros(*u.shape[:2], A.shape[1], dtype=u.dtype), []
        for p in range(u.shape[2]):
            step = delta[:, :, p, None]
            state = (A * step).exp() * state + step * u[:, :, p, None] * B[:, None, :, p]
            columns.append((state * C[:, None, :, p]).sum(-1))
        return torch.stack(columns, -1)

    stand_in(monkeypatch, "mamba_ssm.ops.selective_scan_interface", selective_scan_fn=reference)
    torch.manual_seed(0)
    batch, points = packed(SIZES), sum(SIZES)
    values = [random(points, 8), random(points, 8).exp(), -random(8, 3).exp()]
    values += [random(points, 3), random(points, 3)]
    ours = kernels.selective(*values, batch)
    torch.testing.assert_close(kernels.selective_kernel(*values, batch), ours)
