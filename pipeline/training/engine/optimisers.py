"""The optimisers, and the groups of parameters that they step.

Every rule here is element by element, so that it holds for the flattened
and sharded parameters that ZeRO gives it, and keeps all it knows in each parameter's state, which
ZeRO stores.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.campaign import Training

NOT_COMPILED = "__dynamo_disable"  # torch's own name, in torch/_compile.py
LOOKAHEAD_STEPS = 6
LOOKAHEAD_SHARE = 0.5

Group = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """What a parametrisation multiplies the rate, the decay and the epsilon of a parameter by."""

    rate: float = 1.0
    decay: float = 1.0
    epsilon: float = 1.0


def groups(model: nn.Module, training: Training, scales: Mapping[str, Scale]) -> list[Group]:
    """Return the trained parameters of `model` in groups of one rate, decay and epsilon each.

    `training` says which of them decay. A parameter that `scales` does not name is not scaled;
    those that are frozen are in no group.
    """
    found: dict[tuple[bool, Scale], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (not _decays(name, parameter, training), scales.get(name, Scale()))
            found.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": training.learning_rate * scale.rate,
            "weight_decay": 0.0 if exempt else training.weight_decay * scale.decay,
            "eps": training.epsilon * scale.epsilon,
        }
        for (exempt, scale), parameters in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _decays(name: str, parameter: nn.Parameter, training: Training) -> bool:
    """Return whether the parameter decays in `training`."""
    if any(part in name for part in training.no_weight_decay):
        return False
    return training.weight_decay_of == "all" or parameter.ndim > 1


def with_faster(
    scales: Mapping[str, Scale], model: nn.Module, faster: tuple[str, ...], factor: float
) -> dict[str, Scale]:
    """Return `scales` with `factor` on the rate of parameters whose names begin as `faster` say."""
    if factor == 1:
        return dict(scales)
    found = {}
    for name, _ in model.named_parameters():
        if name.startswith(faster):
            scale = scales.get(name, Scale())
            found[name] = replace(scale, rate=factor * scale.rate)
    return {**scales, **found}


def optimiser(training: Training, grouped: Iterable[Group]) -> torch.optim.Optimizer:
    """Return the optimiser that `training` asks for; rates, decay and epsilon are the groups'.

    AdamW is torch's fused one, on every device: on CPUs, too, it takes a third to a ninth of the
    time of the others for 0.2 to 20 million weights.
    """
    made = _plain(training, grouped)
    if training.clip_value:
        # Under ZeRO the gradients that reach a step are averaged over processes and not yet used.
        made.register_step_pre_hook(lambda stepped, *_: _clip(stepped, training.clip_value))
    return made


def _plain(training: Training, grouped: Iterable[Group]) -> torch.optim.Optimizer:
    if training.optimiser == "lion":
        return Lion(grouped, betas=training.betas)
    if training.optimiser == "ranger":
        return Ranger(grouped, betas=training.betas, decoupled_weight_decay=True)
    return AdamW(grouped, betas=training.betas, amsgrad=training.amsgrad, fused=True)


def _clip(stepped: torch.optim.Optimizer, most: float) -> None:
    """Bound each entry of the gradients that `stepped` will use."""
    parameters = [p for group in stepped.param_groups for p in group["params"]]
    nn.utils.clip_grad_value_(parameters, most)


class Eager(torch.optim.Optimizer):
    """An optimiser for which torch does not load its compiler: 800 modules and a second of CPU.

    torch keeps some methods of every optimiser from being compiled, and loads the compiler for it.
    Its own mark on a method says that this was seen to; nothing here compiles one.
    """

    def __init_subclass__(cls) -> None:
        """Mark the methods."""
        super().__init_subclass__()
        for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
            method = inspect.unwrap(getattr(cls, name))
            setattr(method, NOT_COMPILED, method)


class AdamW(torch.optim.AdamW, Eager):
    """torch's AdamW (Loshchilov, Hutter, arXiv 1711.05101)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, by torch's own function without what surrounds it for compilers."""
        return inspect.unwrap(torch.optim.AdamW.step)(self, closure)


class Lion(Eager):
    """The sign of a momentum (Chen et al., arXiv 2302.06675, algorithm 2).

    With gradient g, momentum m, rate η and weight decay λ,

        p ← p - η (sign(β1 m + (1 - β1) g) + λ p),    m ← β2 m + (1 - β2) g

    Every entry moves by η, so that its rate is 3 to 10 times smaller than AdamW's, and λ as much
    larger (§5 there).
    """

    def __init__(self, params: Iterable[Any], *, betas: tuple[float, float]) -> None:
        super().__init__(params, {"lr": 1e-4, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; `closure` must be None."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: Group) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        first, second = group["betas"]
        direction = torch.lerp(gradient, state["momentum"], first).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"])
        state["momentum"].lerp_(gradient, 1 - second)


class Ranger(torch.optim.RAdam, Eager):
    """RAdam that looks ahead: rectified Adam for k steps, then half the way back.

    RAdam (Liu et al., arXiv 1908.03265, algorithm 2) is torch's, with AdamW's decay; it begins
    without the second moment, and takes it in once ρ_t > 5, where the paper has 4. Lookahead
    (Zhang et al., arXiv 1907.08610, algorithm 1): after every k-th step of the fast weights p,

        slow ← slow + α (p - slow),    p ← slow,    with k = 6 and α = 0.5 as in §3.1 there.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; `closure` must be None."""
        assert closure is None
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # RAdam begins only a state that is empty, so ours is added after its first step.
        starts = {p: p.clone() for p in moved if not self.state[p]}
        inspect.unwrap(torch.optim.RAdam.step)(self)
        for parameter in moved:
            state = self.state[parameter]
            if parameter in starts:
                state["slow"] = starts[parameter]
            if int(state["step"]) % LOOKAHEAD_STEPS == 0:
                parameter.copy_(state["slow"].lerp_(parameter, LOOKAHEAD_SHARE))
