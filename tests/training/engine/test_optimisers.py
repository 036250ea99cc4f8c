"""The optimisers take the steps of their papers, and find the lowest point of a bowl."""

import math

import pytest

torch = pytest.importorskip("torch")

from ranks import training
from torch import nn

from pipeline.training.engine.optimisers import Scale, groups, optimiser

ETA, LAMBDA, BETAS, EPSILON = 0.01, 0.1, (0.9, 0.97), 1e-12


def made(kind, parameter):
    """The optimiser `kind` of one parameter."""
    asked = training(optimiser=kind, betas=BETAS)
    group = {"params": [parameter], "lr": ETA, "weight_decay": LAMBDA, "eps": EPSILON}
    return optimiser(asked, [group])


def walked(kind, gradients):
    """Where a parameter of ones is after each step with the given gradients, in float64."""
    parameter = nn.Parameter(torch.ones(5, dtype=torch.float64))
    stepped, places = made(kind, parameter), []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        stepped.step()
        places.append(parameter.detach().clone())
    return places


def adamw(gradients):
    """Loshchilov & Hutter, arXiv 1711.05101, algorithm 2."""
    p, m, v = torch.ones(5).double(), 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        upon = (m / (1 - BETAS[0] ** t)) / ((v / (1 - BETAS[1] ** t)).sqrt() + EPSILON)
        p = p - ETA * (upon + LAMBDA * p)
        yield p


def lion(gradients):
    """Chen et al., arXiv 2302.06675, algorithm 2."""
    p, m = torch.ones(5).double(), torch.zeros(5).double()
    for g in gradients:
        p = p - ETA * (torch.sign(BETAS[0] * m + (1 - BETAS[0]) * g) + LAMBDA * p)
        m = BETAS[1] * m + (1 - BETAS[1]) * g
        yield p


def ranger(gradients):
    """Liu et al., arXiv 1908.03265, algorithm 2, in Zhang et al., arXiv 1907.08610, algorithm 1."""
    p, m, v = torch.ones(5).double(), 0.0, 0.0
    slow, longest = p, 2 / (1 - BETAS[1]) - 1
    for t, g in enumerate(gradients, 1):
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        rho = longest - 2 * t * BETAS[1] ** t / (1 - BETAS[1] ** t)
        upon = m / (1 - BETAS[0] ** t)
        if rho > 5:
            above = (rho - 4) * (rho - 2) * longest
            below = (longest - 4) * (longest - 2) * rho
            upon = math.sqrt(above / below) * upon / (v / (1 - BETAS[1] ** t)).sqrt()
        p = p - ETA * (upon + LAMBDA * p)
        if t % 6 == 0:
            slow = slow + 0.5 * (p - slow)
            p = slow
        yield p


PAPERS = {"adamw": adamw, "lion": lion, "ranger": ranger}


@pytest.mark.parametrize("kind", PAPERS)
def test_the_steps_are_those_of_the_paper(kind):
    drawn = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = list(PAPERS[kind](drawn))
    for ours, theirs in zip(walked(kind, drawn), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", PAPERS)
def test_it_finds_the_lowest_point_of_a_bowl(kind):
    aim = torch.tensor([1.0, -2.0, 0.5])
    parameter = nn.Parameter(torch.zeros(3))
    group = {"params": [parameter], "lr": 0.02, "weight_decay": 0.0}
    stepped = optimiser(training(optimiser=kind), [group])
    for step in range(600):
        stepped.param_groups[0]["lr"] = 0.02 * (1 - step / 600)
        stepped.zero_grad()
        (torch.tensor([1.0, 10.0, 0.1]) * (parameter - aim) ** 2).sum().backward()
        stepped.step()
    torch.testing.assert_close(parameter.detach(), aim, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("kind", PAPERS)
def test_what_it_knows_is_in_its_state(kind):
    drawn = torch.randn(16, 5, generator=torch.Generator().manual_seed(2))
    whole, halves = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    first, second = made(kind, whole), made(kind, halves)
    for number, gradient in enumerate(drawn):
        if number == 8:
            kept = second.state_dict()
            second = made(kind, halves)
            second.load_state_dict(kept)
        for stepped, parameter in ((first, whole), (second, halves)):
            parameter.grad = gradient.clone()
            stepped.step()
    assert torch.equal(whole, halves)


def model():
    """Two layers, the second one frozen."""
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    layers[1].requires_grad_(False)
    return layers


def test_frozen_parameters_are_in_no_group():
    layers = model()
    grouped = [p for group in groups(layers, training(), {}) for p in group["params"]]
    assert [id(p) for p in grouped] == [id(layers[0].weight), id(layers[0].bias)]


@pytest.mark.parametrize(
    ("changes", "decays"),
    [
        ({}, {(3, 2): 0.3, (3,): 0.0}),
        ({"weight_decay_of": "all"}, {(3, 2): 0.3, (3,): 0.3}),
        ({"weight_decay_of": "all", "no_weight_decay": ("bias",)}, {(3, 2): 0.3, (3,): 0.0}),
        ({"no_weight_decay": ("0.",)}, {(3, 2): 0.0, (3,): 0.0}),
    ],
)
def test_matrices_decay_and_vectors_do_not_unless_the_training_says_so(changes, decays):
    grouped = groups(model(), training(weight_decay=0.3, **changes), {})
    found = {tuple(p.shape): group["weight_decay"] for group in grouped for p in group["params"]}
    assert found == decays


@pytest.mark.parametrize("kind", PAPERS)
def test_entries_of_a_gradient_are_clipped_before_they_are_used(kind):
    clipped, plain = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))
    asked = training(optimiser=kind, clip_value=0.1)
    for parameter, declared in ((clipped, asked), (plain, training(optimiser=kind))):
        stepped = optimiser(declared, [{"params": [parameter], "lr": 0.02, "weight_decay": 0.0}])
        for _ in range(6):
            gradient = torch.tensor([5.0, -5.0, 0.05, 0.0])
            parameter.grad = gradient.clamp(-0.1, 0.1) if parameter is plain else gradient
            stepped.step()
    assert torch.equal(clipped, plain)


def test_amsgrad_keeps_the_largest_second_moment():
    moved = {}
    for amsgrad in (False, True):
        parameter = nn.Parameter(torch.zeros(1))
        group = {"params": [parameter], "lr": 0.02, "weight_decay": 0.0}
        stepped = optimiser(training(amsgrad=amsgrad, betas=(0.9, 0.5)), [group])
        for gradient in (100.0, 1.0, 1.0, 1.0, 1.0, 1.0):
            parameter.grad = torch.tensor([gradient])
            stepped.step()
        moved[amsgrad] = abs(parameter.item())
    assert moved[True] < moved[False] / 2  # Reddi et al., arXiv 1904.09237, algorithm 2


def test_each_scale_has_a_group_of_its_own():
    asked = training(weight_decay=0.3, learning_rate=0.1, epsilon=1e-4)
    scales = {"0.weight": Scale(rate=0.5, decay=2.0, epsilon=0.1)}
    matrices, vectors = groups(model(), asked, scales)
    assert (matrices["lr"], matrices["weight_decay"]) == (0.05, 0.6)
    assert matrices["eps"] == pytest.approx(1e-5)
    assert (vectors["lr"], vectors["weight_decay"], vectors["eps"]) == (0.1, 0.0, 1e-4)
