"""Whether a loss has diverged although it is still finite."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean, pstdev

from pipeline.lines import json_lines


class Divergence:
    """The losses of a training, in windows of `window` steps; a window of 0 turns the check off.

    A training has diverged when the mean loss of a window exceeds that of the first window by more
    than both

    - the gain: how far the mean of the best window lay below the first, and
    - the standard deviation of single steps within the first window.

    So the training has lost what it learnt and as much again. No plateau, noise, restart of the
    schedule or short spike comes near that, and no threshold depends on the scale of the loss. The
    mean of a constant noisy loss varies by the standard deviation over the root of the window, so
    the second condition is 7 standard deviations of a difference away at 100 steps. A loss that
    only returns to its start has not diverged. Windows begin at fixed steps, so a resume that
    passes `past`, (step, loss) of earlier links, finds the same result.
    """

    def __init__(self, window: int, past: Iterable[tuple[int, float]] = ()) -> None:
        self.window = window
        self._losses: list[float] = []
        self._first: tuple[float, float] | None = None
        self._best = float("inf")
        for step, loss in past:
            self.add(step, loss)

    def add(self, step: int, loss: float) -> str:
        """Add the loss of one step; return a message if it has diverged, else an empty string."""
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
        return self._message(step, mean)

    def check(self, step: int, loss: float) -> None:
        """Add the loss of one step.

        Raises:
            FloatingPointError: The loss has diverged; the message says by how much and what to do.
        """
        message = self.add(step, loss)
        if message:
            raise FloatingPointError(message)

    def _message(self, step: int, mean: float) -> str:
        first, spread = self._first or (mean, 0.0)
        if mean - first <= max(first - self._best, spread):
            return ""
        return (
            f"The loss has diverged at step {step}: its mean over {self.window} steps is "
            f"{mean:.4g}; it was {first:.4g} in the first window and {self._best:.4g} in the best. "
            "Lower learning_rate or clip_norm, or lengthen warmup_events; this is not retried. If "
            "this loss may rise, set diverged_steps = 0 to turn the check off."
        )


def recorded(metrics: Path, last: int) -> Iterator[tuple[int, float]]:
    """Yield (step, loss) of each complete line of a metrics file, up to step `last`."""
    for line, _ in json_lines(metrics):
        if line["step"] <= last:
            yield line["step"], line["loss"]
