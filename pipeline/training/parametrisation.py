"""µP and CompleteP: the rates tuned on a base model hold for wider and deeper ones.

What a parameter is follows from its shape beside the same parameter of the model of base width,
which is really built. With m = width / base width, m_L = layers / base layers:

role    what grows with the width      initial std   rate    decay   epsilon
hidden  both sides of a matrix         σ / √m        η / m   λ m     ε / (m m_L)
output  the side it takes in, alone    σ / m         η / m   λ m     ε / m
input   the side it gives out, alone   as built      η       λ       ε / m
vector  all else, by itself or not     as built      η       λ       ε / (m m_L)

All is relative to the base model: σ is the std that the parameter was built with there, η, λ and ε
are those of `Training`, and at m = m_L = 1 nothing changes. At m = 1 all count as vectors, which
only matters for the epsilon of deeper models. λ grows as the rate falls because AdamW decays by
η λ a step, which so stays as it is.

mup takes the table without its epsilons (Yang et al., arXiv 2203.03466, table 8, for Adam, with
the multiplier of the outputs moved into their std). completep takes all of it (Dey et al., arXiv
2505.01618, table 1 with α = 1; epsilons as in PolarBERT's code), and the model multiplies what its
blocks add to the residual stream by 1 / m_L: a block takes `residual_scale` (default 1.0) as an
argument, keeps it as an attribute of that name, and returns x + residual_scale · F(x). Such a
model must not also divide the initial weights of its blocks by its depth. Both rules take the
channels D of an attention head to be the same at every width, as when heads are added; where D
grows, attention must weigh by 1 / D, not 1 / √D (Yang et al., definition 4.1).

In mup Mamba2's A_log and its projections to B and C, from the width W to a state of N that grows
along, have rules of their own (FM4NPP, arXiv 2508.14087). The std of lin_B is √(N / W), that of
lin_C √(1 / (W N)): absolute numbers, whatever the base, and at the base too. Their rates are
relative to the rate of a hidden matrix, η / m, and that is multiplied by W for A_log, by N / √W for
lin_B and by √W / N for lin_C, each over its value at the base width. So A_log, a vector, ends at η.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pipeline.catalog import DeclarationError
from pipeline.families import Family
from pipeline.training.engine.optimisers import Scale

Build = Callable[[Any], nn.Module]
Role = Literal["hidden", "output", "input", "vector"]


@dataclass(frozen=True)
class Pair:
    """A parameter and the same one of the model of base width."""

    name: str
    parameter: nn.Parameter
    base: nn.Parameter
    is_weight: bool

    @property
    def role(self) -> Role:
        """What the parameter is, by which of its sides grow; `is_weight` tells (out, in) sides."""
        sides = zip(self.parameter.shape[:2], self.base.shape[:2], strict=True)
        out, fed = [*(size != base for size, base in sides), False, False][:2]
        if self.parameter.ndim < 2 or not (out or fed):
            return "vector"
        if out and fed:
            return "hidden"
        return "output" if fed and self.is_weight else "input"

    @property
    def ratio(self) -> float:
        """How many times more numbers it takes in than at base width."""
        return self.parameter.shape[1] / self.base.shape[1] if self.parameter.ndim > 1 else 1.0


def parametrise(model: nn.Module, build: Build, declared: Family) -> dict[str, Scale]:
    """Scale the fresh weights of `model` by the rule of `declared`; return what is scaled, by name.

    `build` makes a model from its declaration, as it made `model` from `declared`: here that of
    base width. Frozen weights stay as they are. So does the random state.

    Raises:
        DeclarationError: The rule has a factor on residuals, and the model's blocks do not have it.
    """
    rules, sizes = declared.parametrisation, declared.model_dump()
    if rules.rule == "standard":
        return {}
    if rules.rule == "completep":
        check_residuals(model, rules.residual_scale(sizes["layers"]))
    with torch.random.fork_rng(devices=[]):
        base = build(declared.base)
    m = sizes["width"] / declared.base.model_dump()["width"]
    depth = sizes["layers"] / rules.base_layers if rules.base_layers else None
    scales = {}
    for pair in _pairs(model, base):
        special = _mamba(pair, m) if rules.rule == "mup" else None
        std, scales[pair.name] = special or (_std(pair), _scale(pair, m, depth))
        if std is not None:
            _spread(pair.parameter, std)
    return scales


def check_residuals(model: nn.Module, expected: float) -> None:
    """Check that the blocks of `model` have the factor `expected` on what they add.

    Raises:
        DeclarationError: None has `residual_scale`, or one has another.
    """
    modules = dict(model.named_modules())
    found = {name: m.residual_scale for name, m in modules.items() if hasattr(m, "residual_scale")}
    wrong = {name: scale for name, scale in found.items() if scale != expected}
    if wrong or not found:
        what = f"{next(iter(wrong.items()))}" if wrong else "none"
        message = (
            f'parametrisation: "completep" needs blocks of residual_scale {expected:g}; found '
            f'{what} in {type(model).__name__}. Pass it on to the blocks, or use "mup".'
        )
        raise DeclarationError(message)


def _pairs(model: nn.Module, base: nn.Module) -> list[Pair]:
    """Return the trained parameters of `model`, each with that of `base`."""
    kinds = (nn.Linear, nn.Conv1d)
    weights = {id(part.weight) for part in model.modules() if isinstance(part, kinds)}
    others = dict(base.named_parameters())
    return [
        Pair(name, parameter, others[name], id(parameter) in weights)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]


def _scale(pair: Pair, m: float, depth: float | None) -> Scale:
    """Return what the table has for `pair`; `depth` is m_L, None where epsilon stays."""
    role = pair.role
    epsilon = 1.0
    if depth is not None:
        epsilon = 1 / (m * (depth if role in ("hidden", "vector") else 1))
    if role in ("hidden", "output"):
        return Scale(rate=1 / pair.ratio, decay=pair.ratio, epsilon=epsilon)
    return Scale(epsilon=epsilon)


def _std(pair: Pair) -> float | None:
    """Return the initial std that the table has for `pair`, None for as built."""
    if pair.role not in ("hidden", "output"):
        return None
    power = 0.5 if pair.role == "hidden" else 1.0
    return float(pair.base.detach().std()) / pair.ratio**power


def _mamba(pair: Pair, m: float) -> tuple[float | None, Scale] | None:
    """Return std and scales of the parameters that Mamba2 has rules for, None of others."""
    if pair.name.endswith("A_log"):
        return None, Scale()
    if not pair.name.endswith(("lin_B.weight", "lin_C.weight")):
        return None
    state, width = pair.parameter.shape
    base_state, base_width = pair.base.shape
    grows = (state / math.sqrt(width)) / (base_state / math.sqrt(base_width))
    if pair.name.endswith("lin_B.weight"):
        std, rate = math.sqrt(state / width), grows / m
    else:
        std, rate = math.sqrt(1 / (width * state)), 1 / grows / m
    return std, Scale(rate=rate, decay=1 / rate)


@torch.no_grad()
def _spread(parameter: nn.Parameter, std: float) -> None:
    """Multiply `parameter` so that its std is `std`; what is all equal stays."""
    present = float(parameter.detach().std()) if parameter.numel() > 1 else 0.0
    if present > 0:
        parameter.mul_(std / present)
