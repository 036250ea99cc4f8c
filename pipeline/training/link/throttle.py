"""What is done at most so often, however often it is asked."""

import time


class Every:
    """Says yes at most once in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, -seconds

    def __call__(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
