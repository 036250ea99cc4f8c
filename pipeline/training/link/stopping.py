"""How a training is asked to save and end: by a signal, or by a file that somebody made."""

import signal
from types import FrameType

from pipeline.run import TaskFolder
from pipeline.training.link.throttle import Every
from pipeline.training.link.watchdog import Watchdog


class Stop:
    """Asks a program to end: USR1 (walltime near), TERM (preemption), a file SAVE or STOP.

    The files work from where no signal can be sent, inside containers for one. Only where `looks`
    is set are they looked at, at most once a second: one process of thousands is enough where all
    agree on `asked`. Its `watch` is told at each step that the process lives.
    """

    def __init__(self, folder: TaskFolder, *, looks: bool) -> None:
        self.folder, self.looks = folder, looks
        self.watch = Watchdog(folder, 0, None)
        self._time_to_look = Every(1.0)
        self._asked = False
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self._ask)

    @property
    def asked(self) -> bool:
        """Whether this process was asked to save and end."""
        if not self._asked and self.looks and self._time_to_look():
            self._asked = self.folder.save_request.exists() or self.is_ordered
        return self._asked

    @property
    def is_ordered(self) -> bool:
        """Whether a file STOP is there now, for this task or for its whole run."""
        return self.folder.stop.exists() or self.folder.run_stop.exists()

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._asked = True
