"""Quantities of pairs of points, and the bias of attention that is learned from it.

A function here takes the columns of two points, (..., C) each, and returns (..., K). Axes: P points
of all events, packed · S pairs of one event, U unordered ones, as `Pairs` has them · K features
· H heads.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.data.experiment import load_object
from pipeline.families.custom.module import function_in
from pipeline.families.interactions import Interaction
from pipeline.nn.pairs import Pairs

EPSILON = 1e-8  # the least value whose logarithm is taken, as ParT was published
AT_REST = 1e-7  # the share of a pair's energy below which a momentum is rounding
TINY = 1e-20  # the same of the ratio in a rapidity
Function = Callable[[Tensor, Tensor], Tensor]


def function_of(interaction: Interaction) -> Function:
    """Return the function of `interaction`, one of ours or of the user's own file.

    Raises:
        BadInput: The file cannot be loaded, or has no such function.
    """
    file, _, name = interaction.function.rpartition(":")
    if file.endswith(".py"):
        users: Function = function_in(Path(file), name)
        return users
    ours: Function = load_object(interaction.function)
    return ours


@torch.no_grad()
def features(interaction: Interaction, points: Tensor, pairs: Pairs) -> Tensor:
    """Return the quantities of each pair, (U, K) of a symmetric interaction and else (S, K).

    points: (P, C), the columns of the interaction in its order. Nothing is learned here, so there
    is no slope.

    Raises:
        BadInput: The function does not return so many features of each pair.
    """
    query, key = pairs.of_function(symmetric=interaction.symmetric)
    found = function_of(interaction)(points[query], points[key])
    if tuple(found.shape) != (query.shape[0], interaction.features):
        message = (
            f"{interaction.function}: returned {tuple(found.shape)} of {len(query)} pairs; "
            f"expected {(len(query), interaction.features)}, as `features` says."
        )
        raise BadInput(message)
    return found


def jets(a: Tensor, b: Tensor) -> Tensor:
    """Return ln kT, ln z, ln Δ, ln m² of particles with columns px, py, pz, energy, GeV.

    Qu, Li, Qian, arXiv:2202.03772, eq. 3: Δ is the distance in rapidity and azimuth, kT the lesser
    pT times Δ, z the lesser pT's share of both, m² = (E_a + E_b)² - |p_a + p_b|², GeV². No
    logarithm is taken of less than 1e-8. In between all is in double precision: m² of two almost
    collinear particles is a small difference.
    """
    a, b, dtype = a.double(), b.double(), a.dtype
    (pt_a, y_a, phi_a), (pt_b, y_b, phi_b) = _measured(a), _measured(b)
    distance = torch.hypot(y_a - y_b, _wrapped(phi_a - phi_b))
    least = torch.minimum(pt_a, pt_b)
    share = least / (pt_a + pt_b).clamp(min=EPSILON)
    momentum, energy = (a + b).square().split([3, 1], -1)
    squared = energy.squeeze(-1) - momentum.sum(-1)
    found = torch.stack([least * distance, share, distance, squared], -1)
    return found.clamp(min=EPSILON).log().to(dtype)


def jets8(a: Tensor, b: Tensor) -> Tensor:
    """Return the features of `jets` of particles (..., 4), and four more that weaver-core offers.

    ln of |p_a - p_b|² - (E_a - E_b)², GeV², of 1e-8 at least; the cosine of the angle in which b
    leaves the pair, between its momentum in the rest frame of the pair and that of the pair; the
    differences of rapidity and of azimuth, a - b, the latter from -π to π. Where b is at rest with
    the pair, as a particle with itself, the cosine is 0 (hqucms/weaver-core at 154db69).
    """
    dtype = a.dtype
    a, b = a.double(), b.double()
    (_, y_a, phi_a), (_, y_b, phi_b) = _measured(a), _measured(b)
    momentum, energy = (a - b).square().split([3, 1], -1)
    spacelike = (momentum.sum(-1) - energy.squeeze(-1)).clamp(min=EPSILON).log()
    more = [spacelike, _cosine(b, a + b), y_a - y_b, _wrapped(phi_a - phi_b)]
    return torch.cat([jets(a, b), torch.stack(more, -1)], -1).to(dtype)


def _cosine(one: Tensor, pair: Tensor) -> Tensor:
    """Return the cosine between the momentum of `one` in the rest frame of `pair` and the pair's.

    Both are (..., 4). With the pair's velocity β and γ = E / m, the momentum there is
    p + (γ² β·p / (1 + γ) - γ E) β.
    """
    p, energy = one.split([3, 1], -1)
    total, whole = pair.split([3, 1], -1)
    beta = total / whole
    mass2 = whole.square() - total.square().sum(-1, keepdim=True)
    gamma = whole / mass2.clamp(min=TINY).sqrt()
    along = (beta * p).sum(-1, keepdim=True)
    there = p + (gamma.square() / (1 + gamma) * along - gamma * energy) * beta
    sizes = there.norm(dim=-1) * total.norm(dim=-1)
    cosine = (there * total).sum(-1) / sizes.clamp(min=TINY)
    moves = there.norm(dim=-1) > AT_REST * whole.squeeze(-1)
    return torch.where(moves, cosine, 0.0)


def pet(a: Tensor, b: Tensor) -> Tensor:
    """Return ln m², ln ΔR, ln kT of particles with columns deta, dphi, log_pt, of no mass.

    OmniLearned's (Bhimji et al., arXiv:2510.24066): m² = 2 pT_a pT_b (cosh Δη - cos Δφ), ΔR the
    distance in pseudorapidity and azimuth, kT the lesser pT times ΔR; GeV. Δφ is not wrapped, for
    columns are relative to a jet; where particles coincide all three are 0, as in the authors' code
    (ViniciusMikuni/OmniLearned at 922355d). In between all is in double precision.
    """
    a, b, dtype = a.double(), b.double(), a.dtype
    deta, dphi = a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]
    # 2 (cosh Δη - cos Δφ) without the difference of two numbers near 1
    opening = 4 * ((deta / 2).sinh().square() + (dphi / 2).sin().square())
    distance = torch.hypot(deta, dphi)
    first, second = a[..., 2], b[..., 2]
    least = torch.minimum(first, second)
    scale = torch.stack([first + second, torch.zeros_like(distance), least], -1)
    found = torch.stack([opening, distance, distance], -1)
    return torch.where(found > 0, found.log() + scale, 0.0).to(dtype)


def _measured(particles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pT, GeV, rapidity and azimuth (...) of particles (..., 4).

    The rapidity is ½ ln(1 + 2 pz / (E - pz)), E - pz at least 1e-20, as the authors compute it
    (hqucms/weaver-core at 154db69). The logarithm is of 1e-20 at least, so that a particle along
    the beam whose energy was rounded to less than its momentum has a number too.
    """
    px, py, pz, energy = particles.unbind(-1)
    ratio = 1 + 2 * pz / (energy - pz).clamp(min=TINY)  # (E + pz) / (E - pz)
    return torch.hypot(px, py), 0.5 * ratio.clamp(min=TINY).log(), torch.atan2(py, px)


def _wrapped(angle: Tensor) -> Tensor:
    """Return the angle, a difference of two, from -π to π."""
    return angle - 2 * torch.pi * (angle / (2 * torch.pi)).round()
