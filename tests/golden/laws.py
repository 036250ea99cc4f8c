"""The laws of initial values: ours beside the published ones, by moments over seeds."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.nn import published
from pipeline.nn.published import Entry

FOLDER = Path(__file__).parent / "initial-values"
SEEDS = 3
ERRORS = 5.0  # standard errors that moments may be apart
FEW = 100  # numbers, below which moments say little
BOUNDED = 2.4  # kurtosis below which a law ends somewhere: uniform has 1.8, normal 3


@dataclass(frozen=True)
class Law:
    """Moments and extremes of `numbers` initial values."""

    numbers: int
    mean: float
    std: float
    low: float
    high: float
    kurtosis: float

    @property
    def reach(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))


def reference(name: str, configuration: str) -> dict[str, Law]:
    """Return the published law of each parameter by the authors' name."""
    text = (FOLDER / f"{name}.json").read_text()
    parameters: dict[str, Any] = json.loads(text)["configurations"][configuration]["parameters"]
    return {
        parameter: Law(
            numbers=torch.Size(each["shape"]).numel() * each["seeds"],
            mean=each["mean"],
            std=each["std"],
            low=each["min"],
            high=each["max"],
            kurtosis=each["kurtosis"] or 3.0,
        )
        for parameter, each in parameters.items()
    }


def differing(
    build: Callable[[], nn.Module], entries: Iterable[Entry], theirs: dict[str, Law]
) -> dict[str, str]:
    """Return how the initial law of each parameter differs from the published one; none if alike.

    `build` makes our module anew; it may have fewer layers than `theirs`, but no other widths.
    """
    drawn: dict[str, list[Tensor]] = {}
    entries = list(entries)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        weights = published.exported(build().state_dict(), entries)
        for name, weight in weights.items():
            drawn.setdefault(name, []).append(weight.detach().double().flatten())
    missing = dict.fromkeys(theirs.keys() - drawn.keys(), "ours has none")
    found = {name: apart(law(values), theirs[name]) for name, values in drawn.items()}
    return {name: how for name, how in (missing | found).items() if how}


def law(values: list[Tensor]) -> Law:
    """Return the law of what was drawn with each seed."""
    every = torch.cat(values)
    spread = every - every.mean()
    square = float(spread.square().mean())
    return Law(
        numbers=len(every),
        mean=float(every.mean()),
        std=square**0.5,
        low=float(every.min()),
        high=float(every.max()),
        kurtosis=float(spread.pow(4).mean()) / square**2 if square else 3.0,
    )


def apart(ours: Law, theirs: Law) -> str:
    """Return by what our law differs, empty where it does not show."""
    constant = [each.low == each.high for each in (ours, theirs)]
    if any(constant):
        alike = all(constant) and ours.mean == theirs.mean
        return "" if alike else f"{ours.low} to {ours.high} for {theirs.low} to {theirs.high}"
    if min(ours.numbers, theirs.numbers) < FEW:
        alike = ours.reach / 20 < theirs.reach < 2 * ours.reach
        return "" if alike else f"up to {ours.reach:.3g} for {theirs.reach:.3g}"
    share = 1 / ours.numbers + 1 / theirs.numbers
    rooms = {
        "mean": ERRORS * theirs.std * share**0.5,
        "std": ERRORS * theirs.std * ((theirs.kurtosis - 1) / 4 * share) ** 0.5,
        "kurtosis": 0.05 + ERRORS * (24 * share) ** 0.5,
        "reach": 10 * share * theirs.reach if theirs.kurtosis < BOUNDED else float("inf"),
    }
    return ", ".join(
        f"{name} {getattr(ours, name):.4g} for {getattr(theirs, name):.4g}"
        for name, room in rooms.items()
        if abs(getattr(ours, name) - getattr(theirs, name)) > room
    )
