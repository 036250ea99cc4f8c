"""How a published model was trained, as the keys of a `training` section here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What PyTorch does where the authors set nothing.
UNSET: Mapping[str, Any] = {
    "schedule": "constant",
    "warmup_events": 0,
    "final_learning_rate": 0.0,
    "optimiser": "adamw",
    "amsgrad": False,
    "betas": (0.9, 0.999),
    "max_beta": 0.0,
    "epsilon": 1e-8,
    "weight_decay": 0.01,
    "weight_decay_of": "all",
    "no_weight_decay": (),
    "clip_norm": 0.0,
    "clip_value": 0.0,
    "ema_events": 0,
}
# Keys that belong to one schedule, so that another schedule of the user's leaves them out.
OF_SCHEDULE = (
    *("warmup_events", "final_learning_rate", "max_beta", "points"),
    *("decay_events", "decay_fraction", "decay_shape"),
)

ROUNDED = ("warmup_events", "ema_events")  # follow from others, to within a whole number


@dataclass(frozen=True)
class Departure:
    """A key whose value `here` is not the `published` one."""

    key: str
    here: Any
    published: Any

    def __str__(self) -> str:
        """Return key and values on one line."""
        return f"{self.key} {_short(self.here)} (published: {_short(self.published)})"


@dataclass(frozen=True)
class Recipe:
    """The settings of a published training, from `source`.

    `settings` are keys of a training section as they are, at least `learning_rate` and
    `batch_events`; the rest is as PyTorch has it. What depends on the length of the training or on
    its batch is given as the authors count it: `steps` in all, 0 if that is not published;
    `warmup`, the share of them with a rising rate; `final`, the last rate as a share of the peak;
    `ema_steps`, 1 / (1 - decay) of an EMA of the weights. `differs` tells, a line each, what no key
    here can follow.
    """

    source: str
    settings: Mapping[str, Any]
    steps: int = 0
    warmup: float = 0.0
    final: float = 0.0
    ema_steps: int = 0
    differs: tuple[str, ...] = ()

    def keys(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of a training with this recipe, in which those `given` stay as they are.

        Warm-up, last rate and EMA follow from `events_seen`, `learning_rate` and `batch_events`.
        """
        own = {**UNSET, **self.settings}
        whole = {**own, **given}
        own["warmup_events"] = int(self.warmup * _number(whole, "events_seen"))
        own["final_learning_rate"] = self.final * _number(whole, "learning_rate")
        own["ema_events"] = round(self.ema_steps * _number(whole, "batch_events"))
        if whole["schedule"] != own["schedule"]:
            own = {key: value for key, value in own.items() if key not in OF_SCHEDULE}
        return {**own, **given}

    def facts(self) -> list[str]:
        """Return each setting in a few words, those that are off left out."""
        settings = {**UNSET, **self.settings}
        found = [f"{key} {_short(value)}" for key, value in settings.items() if value]
        if self.steps:
            found.append(f"{self.steps:,} steps")
        if self.warmup:
            found.append(f"warm-up over {self.warmup:.3g} of the steps")
        if self.final:
            found.append(f"last rate {self.final:.3g} of the peak")
        if self.ema_steps:
            found.append(f"EMA of {1 - 1 / self.ema_steps:g} a step")
        return found

    def departures(self, training: Mapping[str, Any]) -> list[Departure]:
        """Return in which keys the `training`, as it is resolved, is not this recipe.

        Lengths and rates that follow from others are compared as they would follow.
        """
        scales = {key: training[key] for key in ("events_seen", "learning_rate", "batch_events")}
        expected = {**self.keys(scales), **self.settings}
        if training["schedule"] != expected["schedule"]:
            expected = {key: value for key, value in expected.items() if key not in OF_SCHEDULE}
        del expected["events_seen"]
        found = [
            Departure(key, training[key], value)
            for key, value in expected.items()
            if not _same(training[key], value, within=1 if key in ROUNDED else 0)
        ]
        steps = training["events_seen"] // training["batch_events"]
        if self.steps and steps != self.steps:
            found.append(Departure("steps", steps, self.steps))
        return found


def _number(values: Mapping[str, Any], key: str) -> float:
    """Return a number of a file that has not been validated yet, 0 if it is none."""
    value = values.get(key, 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _same(here: Any, published: Any, within: int) -> bool:
    """Return whether two values are equal, or whole numbers that differ by at most `within`."""
    if isinstance(published, list | tuple):
        return _flat(here) == _flat(published)
    if isinstance(published, float):
        return bool(abs(here - published) <= 1e-9 * abs(published))
    if within:
        return bool(abs(here - published) <= within)
    return bool(here == published)


def _flat(values: Any) -> list[Any]:
    """Return the values of nested lists and tuples, one after the other."""
    if not isinstance(values, list | tuple):
        return [values]
    return [value for each in values for value in _flat(each)]


def _short(value: Any) -> str:
    """Return a value in a few characters."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        numbers = _flat(value)
        return (
            f"{len(value)} points" if len(numbers) > len(value) else ", ".join(map(_short, value))
        )
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
