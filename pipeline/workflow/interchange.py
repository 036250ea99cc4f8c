"""Parsl's interchange, which lets a pilot drain by the pilot's own clock.

A pilot registers with the time at which it drains, by the clock of its node, and Parsl compares
that with the clock of the login host. With ten minutes between the two, a short pilot has to
leave as soon as it comes, or takes new work until its walltime ends it.
"""

import pickle
import sys
import time
from typing import Any

from parsl.executors.high_throughput.interchange import Interchange


class OnePilotOneClock(Interchange):  # type: ignore[misc]
    """An interchange that takes from a pilot how long it works, not until when."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._known: set[bytes] = set()

    def expire_drained_managers(self, *arguments: Any) -> None:
        """Count the time that pilots work from their registration, by this host's clock.

        A pilot registers some seconds after its start, when its Python has been imported.
        """
        for pilot in self._ready_managers.keys() - self._known:
            record = self._ready_managers[pilot]
            record["drain_time"] += time.time() - record["start_time"]
            self._known.add(pilot)
        super().expire_drained_managers(*arguments)


if __name__ == "__main__":
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301 # a pipe from the controller, our parent
    OnePilotOneClock(**settings).start()
