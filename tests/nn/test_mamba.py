"""The mixers, and that look-alikes which accept the same weights are told apart."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")

from made_batches import packed
from torch.nn import functional

from pipeline.families.fm4npp.spec import HEAD_CHANNELS
from pipeline.nn.mamba import Mamba, Mamba2, RMSNorm
from pipeline.nn.scan import convolve


class MovingAverage(Mamba2):
    """The scan replaced by a moving average: neither B nor C."""

    def forward(self, hidden, batch):
        inner = self.sizes[0]
        z, x, dt = self.in_proj(hidden).split([inner, inner, len(self.D)], dim=-1)
        mixed = torch.cat([x, self.lin_B(hidden), self.lin_C(hidden)], dim=-1)
        mixed = functional.silu(
            convolve(mixed, self.conv_weight, self.conv_bias, batch.index_in_event)
        )
        x = mixed[:, :inner].unflatten(-1, (-1, HEAD_CHANNELS))
        decay = (-self.A_log.exp() * functional.softplus(dt + self.dt_bias)).exp().unsqueeze(-1)
        state, rows = torch.zeros_like(x[0]), []
        for p in range(len(x)):
            state = state * decay[p] * bool(batch.index_in_event[p]) + (1 - decay[p]) * x[p]
            rows.append(state)
        y = (torch.stack(rows) + self.D.unsqueeze(-1) * x).flatten(1)
        return self.out_proj(self.norm(y, gate=z))


class Ungated(Mamba2):
    """The norm without its gate."""

    def __init__(self, width):
        super().__init__(width)
        gated = self.norm.forward
        self.norm.forward = lambda x, gate=None: gated(x)  # noqa: ARG005 - that is the fault


class SigmoidGate(Mamba2):
    """The gate as sigmoid(z) instead of silu(z)."""

    def __init__(self, width):
        super().__init__(width)
        gated = self.norm.forward
        self.norm.forward = lambda x, gate: gated(x * gate.sigmoid())


def difference(model) -> float:
    """How far `model` is from Mamba2 with the same weights, relative to Mamba2's result."""
    torch.manual_seed(3)
    right, other = Mamba2(64), model(64)
    with torch.no_grad():
        right.dt_bias.add_(2.0)  # as after some training: the state carries far
    other.load_state_dict(right.state_dict(), strict=True)
    batch = packed([65, 1, 40])
    hidden = torch.randn(len(batch.points), 64)
    with torch.no_grad():
        expected = right(hidden, batch)
        return float((other(hidden, batch) - expected).norm() / expected.norm())


def test_the_same_weights_give_the_same_function():
    assert difference(Mamba2) == 0.0


# These once stood in for the real kernels: every name and shape fits, so the weights load, and a
# head trained on the true function scores 0.05 instead of 0.95.
@pytest.mark.parametrize("wrong", [MovingAverage, Ungated, SigmoidGate])
def test_a_look_alike_that_accepts_the_weights_is_told_apart(wrong):
    assert difference(wrong) > 0.1


def test_the_naive_recurrence_in_its_place_is_the_same_function():
    def naive(x, dt, a, b, c, batch):
        state, rows = torch.zeros(*x.shape[1:], b.shape[1]), []
        for p in range(len(x)):
            state = (a * dt[p]).exp()[:, None, None] * state * (batch.index_in_event[p] > 0)
            state = state + dt[p][:, None, None] * x[p][:, :, None] * b[p]
            rows.append(state @ c[p])
        return torch.stack(rows)

    assert difference(partial(Mamba2, scan=naive)) < 1e-5


def test_norm_gates_before_it_normalises():
    x, z = torch.randn(4, 8), torch.randn(4, 8)
    gated = x * z * torch.sigmoid(z)
    expected = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(RMSNorm(8)(x, gate=z), expected)


def test_mamba_is_its_equations_step_by_step():
    torch.manual_seed(4)
    mixer, batch = Mamba(32).double(), packed([5, 1, 9])
    hidden = torch.randn(15, 32, dtype=torch.float64)
    x, z = (hidden @ mixer.in_proj.weight.T).chunk(2, -1)
    rows = []
    for p in range(15):
        taps = [x[p - back] * (batch.index_in_event[p] >= back) for back in range(min(4, p + 1))]
        u = mixer.conv_bias + sum(t * mixer.conv_weight[:, 3 - back] for back, t in enumerate(taps))
        u = functional.silu(u)
        rank, b, c = (mixer.x_proj.weight @ u).split(mixer.sizes)
        dt = functional.softplus(mixer.dt_proj.weight @ rank + mixer.dt_proj.bias)
        state = torch.zeros(64, 2, dtype=torch.float64) if batch.index_in_event[p] == 0 else state  # noqa: F821
        state = (-mixer.A_log.exp() * dt[:, None]).exp() * state + (dt * u)[:, None] * b
        rows.append(mixer.out_proj.weight @ ((state @ c + mixer.D * u) * functional.silu(z[p])))
    # The mixer keeps its state in single precision.
    torch.testing.assert_close(mixer(hidden, batch), torch.stack(rows), rtol=1e-4, atol=1e-6)


def test_first_time_steps_lie_between_a_thousandth_and_a_tenth():
    steps = functional.softplus(Mamba2(512).dt_bias)
    assert 1e-3 <= steps.min() < 5e-3
    assert 2e-2 < steps.max() <= 0.1001
