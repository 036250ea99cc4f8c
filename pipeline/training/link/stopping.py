"""How a training is requested to save and end: by a signal, or by a file."""

import signal
from types import FrameType

from pipeline.run import TaskFolder
from pipeline.training.link.here import this_link
from pipeline.training.link.throttle import Throttle
from pipeline.training.link.watchdog import Watchdog


class Stop:
    """A request to end: USR1 (walltime near), TERM (preemption), a file SAVE or STOP.

    The files work where no signal can be sent, for example into a container. A process polls them
    only if `polls` is set, at most once a second: one process of thousands is enough, since all
    agree on `requested`. `watch` is the watchdog, which gets a beat at each step.
    """

    def __init__(self, folder: TaskFolder, *, polls: bool) -> None:
        self.folder, self.polls = folder, polls
        self.watch = Watchdog(folder, 0, None)
        self._may_poll = Throttle(1.0)
        self._requested = False
        signal.signal(signal.SIGTERM, self._on_signal)
        before = signal.signal(signal.SIGUSR1, self._on_signal)
        # Batch scripts ignore the signal for us until now, so it may have come and be lost.
        if before is signal.SIG_IGN and this_link().is_ending:
            self._requested = True

    @property
    def requested(self) -> bool:
        """Whether this process is requested to save and end."""
        if not self._requested and self.polls and self._may_poll():
            self._requested = self.folder.save_request.exists() or self.has_file
        return self._requested

    @property
    def has_file(self) -> bool:
        """Whether there is a file STOP now, for this task or for its whole run."""
        return self.folder.stop.exists() or self.folder.run_stop.exists()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._requested = True
