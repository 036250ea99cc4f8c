"""Whether a loss has diverged, though it still is a number."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, pstdev


class Divergence:
    """The losses of a training, in windows of `window` steps; 0 looks at nothing.

    A training has diverged when the mean loss of a window lies above that of the first one by more
    than both

    - all that was gained: how far the mean of the best window lay below the first, and
    - the spread of single steps within the first window, their standard deviation.

    So it has lost what it learnt and as much again: no plateau, noise, restart of the schedule or
    spike that heals within a window comes near that, and no threshold depends on the scale of the
    loss. The mean of a loss that learns nothing varies by the spread over the root of the window,
    so that the second clause stands 7 standard deviations of a difference away at 100 steps. What
    only returns to where it began is not called diverged. Windows begin at fixed steps, so that the
    verdict is the same when `past`, (step, loss) of earlier links, is handed over after a resume.
    """

    def __init__(self, window: int, past: Iterable[tuple[int, float]] = ()) -> None:
        self.window = window
        self._losses: list[float] = []
        self._first: tuple[float, float] | None = None
        self._best = float("inf")
        for step, loss in past:
            self.add(step, loss)

    def add(self, step: int, loss: float) -> str:
        """Add the loss of one step; return what to tell if it has diverged, else nothing."""
        if not self.window:
            return ""
        self._losses.append(loss)
        if step % self.window:
            return ""
        losses, self._losses = self._losses[-self.window :], []
        if len(losses) < self.window:
            return ""
        mean = fmean(losses)
        self._first = self._first or (mean, pstdev(losses))
        self._best = min(self._best, mean)
        return self._verdict(step, mean)

    def check(self, step: int, loss: float) -> None:
        """Add the loss of one step.

        Raises:
            FloatingPointError: It has diverged; the message says by how much, and what to do.
        """
        verdict = self.add(step, loss)
        if verdict:
            raise FloatingPointError(verdict)

    def _verdict(self, step: int, mean: float) -> str:
        first, spread = self._first or (mean, 0.0)
        if mean - first <= max(first - self._best, spread):
            return ""
        return (
            f"The loss has diverged at step {step}: its mean over {self.window} steps is "
            f"{mean:.4g}, was {first:.4g} in the first ones and {self._best:.4g} in the best. "
            "Lower learning_rate or clip_norm, or lengthen warmup_events; this is not retried. If "
            "this loss may rise, diverged_steps = 0 says not to look."
        )


def recorded(metrics: Path, last: int) -> list[tuple[int, float]]:
    """Return (step, loss) of each whole line of a metrics file up to step `last`, if there are."""
    if not metrics.exists():
        return []
    lines = [json.loads(line) for line in metrics.read_text().split("\n")[:-1]]
    return [(line["step"], line["loss"]) for line in lines if line["step"] <= last]
