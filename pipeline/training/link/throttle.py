"""Limits how often something is done."""

import time


class Throttle:
    """Allows an action at most once in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, -seconds

    def __call__(self) -> bool:
        """Whether the action may be done now; if so, it counts as done."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
