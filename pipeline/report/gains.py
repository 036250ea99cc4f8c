"""What pretraining gains, in a sentence: a mode that starts from it against one that does not."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from pipeline.report.formats import number, score
from pipeline.report.results import TaskResults
from pipeline.report.scores import Setting

# What each mode is trained like, but for where it starts.
CONTROLS = {"full": "scratch", "lora": "scratch", "frozen": "head"}
LEVEL = 0.95  # of the interval that leaves no gain out


@dataclass(frozen=True)
class Gain:
    """By how much a mode is better than its control at a count of labels; less than 0 is worse.

    `error` is one standard error, of so many `seeds`; of one, over events. `is_seen` says that the
    95 % interval leaves no gain out.
    """

    labels: int
    gain: float
    error: float
    seeds: int
    is_seen: bool


@dataclass(frozen=True)
class Comparison:
    """A pretrained mode and its control, at each count of labels that both have."""

    model: str
    pretraining_events: int | None
    mode: str
    control: str
    title: str
    gains: Sequence[Gain]

    @property
    def sentence(self) -> str:
        """What a reader takes away."""
        of = f"{self.model} pretrained on {number(self.pretraining_events)} events"
        words = "; ".join(map(_in_words, self.gains))
        return f"{self.title}, {of}, {self.mode} against {self.control}: {words}."


def comparisons(result: TaskResults) -> Iterator[Comparison]:
    """Yield what pretraining gains by the first score, by model, events and mode."""
    better = -1.0 if result.first in result.task.SMALLER_IS_BETTER else 1.0
    pretrained = [
        each
        for each in result.settings
        if each.configuration.mode in CONTROLS and each.configuration.pretraining_events
    ]
    groups: dict[_Trained, list[Gain]] = {}
    for each in pretrained:
        control = _control(each, result.settings)
        gain = gain_of(each, control, result.first, better) if control else None
        if gain is not None:
            groups.setdefault(_Trained.of(each), []).append(gain)
    for of, gains in groups.items():
        title = result.shown.get(result.first, result.first)
        gains.sort(key=lambda gain: gain.labels)
        yield Comparison(of.model or "a model", of.events, of.mode, CONTROLS[of.mode], title, gains)


@dataclass(frozen=True)
class _Trained:
    """What settings share that differ in their labels alone."""

    finetuning: str
    model: str | None
    size: tuple[int | None, int | None]
    events: int | None
    mode: str

    @classmethod
    def of(cls, setting: Setting) -> "_Trained":
        """Return what the setting is of."""
        what = setting.configuration
        size = (what.width, what.layers)
        return cls(what.finetuning, what.model, size, what.pretraining_events, what.mode or "")


def _control(setting: Setting, all_settings: Sequence[Setting]) -> Setting | None:
    """Return the setting of the same model and labels that does not start from pretraining.

    Of several, that of the same fine-tuning.
    """
    ours = setting.configuration
    mode = CONTROLS[ours.mode or ""]
    same = [
        each
        for each in all_settings
        if each.configuration.mode == mode and each.configuration.labels == ours.labels
        if mode == "head" or _model(each) == _model(setting)
    ]
    same.sort(key=lambda each: each.configuration.finetuning != ours.finetuning)
    return next(iter(same), None)


def _model(setting: Setting) -> tuple[str | None, int | None, int | None]:
    """Return the name and the size of a model."""
    what = setting.configuration
    return what.model, what.width, what.layers


def gain_of(setting: Setting, control: Setting, name: str, better: float) -> Gain | None:
    """Return the gain of `setting` over its control by the score `name`, None where unknown.

    Seeds that both have are compared one by one, for a seed has the same labels in both. `better`
    is -1 where less is better.
    """
    labels = setting.configuration.labels or 0
    ours, theirs = (_by_seed(each, name) for each in (setting, control))
    both = [better * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]
    if not both:
        return None
    if len(both) > 1:
        from scipy.stats import t

        error = stdev(both) / math.sqrt(len(both))
        wide = float(t.ppf((1 + LEVEL) / 2, len(both) - 1)) * error
        return Gain(labels, mean(both), error, len(both), abs(mean(both)) > wide)
    intervals = [each.interval(name) for each in (setting, control)]
    halves = [(each[1] - each[0]) / 2 for each in intervals if each is not None]
    error = math.hypot(*halves) if len(halves) == 2 else math.nan
    return Gain(labels, both[0], error, 1, abs(both[0]) > 1.96 * error)


def _by_seed(setting: Setting, name: str) -> Mapping[int | None, float]:
    """Return a score by the seed of the fine-tuning, a mean over seeds of the pretraining."""
    found: dict[int | None, list[float]] = {}
    for each in setting.evaluations:
        value = each.result.scores.get(name, math.nan)
        if math.isfinite(value):
            found.setdefault(each.configuration.seed, []).append(value)
    return {seed: mean(values) for seed, values in found.items()}


def _in_words(gain: Gain) -> str:
    """Return one gain in words."""
    size = score(abs(gain.gain))
    error = "" if math.isnan(gain.error) else f" ± {score(gain.error, gain.gain)}"
    seeds = (
        f"{gain.seeds} seeds"
        if gain.seeds > 1
        else "one seed: the error is over events, not over seeds"
    )
    at = f"at {number(gain.labels)} labels"
    if not gain.is_seen:
        sign = "+" if gain.gain >= 0 else "−"
        return f"no gain seen {at} ({sign}{size}{error}, {seeds})"
    word = "gains" if gain.gain > 0 else "loses"
    return f"pretraining {word} {size}{error} {at} ({seeds})"
