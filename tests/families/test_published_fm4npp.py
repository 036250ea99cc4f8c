"""FM4NPP is held to outputs of the authors' own code, on weights that are nowhere neutral."""

import sys
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.families.fm4npp import embedding, objective
from pipeline.families.fm4npp import module as network
from pipeline.families.fm4npp import published as names
from pipeline.nn import mamba, published
from tests.golden import fm4npp
from tests.golden.cases import Case

PUBLISHED = ROOT / "tests" / "golden" / "published"
NETWORKS = ["fm4npp-mamba1", "fm4npp-mamba2", "fm4npp-mamba2-concat"]


def failing(folder):
    """Return the names of the arrays that are out of tolerance."""
    return {row.name for row in fm4npp.held(Case(PUBLISHED / folder)) if not row.passed}


@pytest.mark.parametrize("folder", NETWORKS)
def test_layers_predictions_losses_and_gradients_are_those_of_the_authors(folder):
    assert fm4npp.knows(Case(PUBLISHED / folder))
    assert failing(folder) == set()


def silu(patch):
    patch(functional, "silu", functional.gelu)


def epsilon(patch):
    rms_norm = functional.rms_norm
    patch(functional, "rms_norm", lambda *given, eps: rms_norm(*given, eps=eps / 10))


def with_pi(patch):
    changed = lambda x: embedding.fourier(x)[..., :63]  # noqa: E731
    patch(embedding, "PROJECTED", {**embedding.PROJECTED, "nerf": changed})


def exchanged(patch):
    """Make B of C and C of B."""
    scan = network.kernels.ssd
    patch(
        network.kernels,
        "SCANS",
        {
            name: (lambda x, dt, a, b, c, e: scan(x, dt, a, c, b, e),) * 2
            for name in ("fm4npp-mamba2",)
        },
    )


def norm_then_gate(patch):
    def forward(self, x, gate=None):
        normed = functional.rms_norm(x, self.weight.shape, self.weight, eps=1e-5)
        return normed if gate is None else normed * functional.silu(gate)

    patch(mamba.RMSNorm, "forward", forward)


def no_skip(patch):
    def forward(self, hidden, batch):
        self.D.data.zero_()
        return mixed(self, hidden, batch)

    mixed = mamba.Mamba2.forward
    patch(mamba.Mamba2, "forward", forward)


def after_the_stream(patch):
    patch(network.Addition, "forward", lambda self, x, b: x + self.mixer(self.norm(x), b))


@pytest.mark.parametrize(
    "change", [silu, epsilon, with_pi, exchanged, norm_then_gate, no_skip, after_the_stream]
)
def test_a_change_of_the_function_shows(monkeypatch, change):
    change(monkeypatch.setattr)
    assert {"feature_1", "predicted", "loss_masked"} <= failing("fm4npp-mamba2")


def test_another_mean_of_the_loss_shows(monkeypatch):
    per_event = objective.neighbours_per_event
    changed = lambda p, b: {"neighbours": per_event(p, b)["neighbours_per_event"]}  # noqa: E731
    monkeypatch.setattr(objective, "neighbours", changed)
    monkeypatch.setattr(
        objective,
        "neighbours_by_size",
        partial(lambda p, b, **_: {"neighbours_by_size": changed(p, b)["neighbours"]}),
    )
    assert {"loss_masked", "loss_reweighted", "loss_validation"} <= failing("fm4npp-mamba1")


@pytest.mark.parametrize("folder", NETWORKS)
def test_weights_go_in_and_out_bit_for_bit(folder):
    case = Case(PUBLISHED / folder)
    ours = fm4npp.module_of(case).state_dict()
    back = published.exported(ours, names.entries(fm4npp.model_of(case)))
    assert back.keys() == case.weights.keys()
    assert all(torch.equal(back[name], case.weights[name]) for name in back)
