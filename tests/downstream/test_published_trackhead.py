"""FM4NPP's track-finding head is held to outputs of the authors' own code."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.downstream.tracks import loss, queries
from tests.golden import fm4npp_trackhead as trackhead
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published" / "fm4npp-trackhead"


def failing():
    """Return the names of the arrays that are out of tolerance."""
    return {row.name for row in trackhead.held(Case(FOLDER)) if not row.passed}


def test_masks_classes_losses_and_assignments_are_those_of_the_authors():
    assert trackhead.knows(Case(FOLDER))
    assert failing() == set()


def gelu_by_tanh(patch):
    gelu = functional.gelu
    patch(nn.GELU, "forward", lambda _, x: gelu(x, approximate="tanh"))


def epsilon_of_norms(patch):
    norm = functional.layer_norm
    patch(functional, "layer_norm", lambda *given: norm(*given[:4], 1e-6))


def no_bias_of_attention(patch):
    patch(queries, "attention_bias", lambda masks, _: torch.zeros_like(masks))


def detached(patch):
    bias = queries.attention_bias
    patch(queries, "attention_bias", lambda masks, real: bias(masks.detach(), real))


def no_places(patch):
    forward = queries.Refinement.forward
    patch(
        queries.Refinement,
        "forward",
        lambda self, q, places, points, bias: forward(self, q, 0 * places, points, bias),
    )


def smoothed_by_one(patch):
    def dice(logits, truth):
        p = logits.sigmoid()
        return 1 - (2 * (p * truth).sum(-1) + 1) / (p.sum(-1) + truth.sum(-1) + 1)

    patch(loss, "_dice", dice)


def other_cost_of_classes(patch):
    patch(loss, "COST_CLASS", -loss.COST_CLASS)


def claims_of_nothing(patch):
    patch(queries, "claimed", lambda masks, classes, _: masks * classes.amax(-1, keepdim=True))


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (gelu_by_tanh, {"mask_probs", "class_probs", "loss_of_event"}),
        (epsilon_of_norms, {"mask_probs", "loss_of_event"}),
        (no_bias_of_attention, {"mask_probs_round_1", "class_probs", "pid_logits"}),
        (detached, {"grad_loss_sum"}),
        (no_places, {"mask_probs_round_1", "class_probs", "track_regression"}),
        (smoothed_by_one, {"loss_terms", "loss_of_event"}),
        (other_cost_of_classes, {"matched"}),
        (claims_of_nothing, {"given_assignment_option_2"}),
    ],
)
def test_a_change_of_the_function_shows(monkeypatch, change, shows):
    change(monkeypatch.setattr)
    assert shows <= failing()
