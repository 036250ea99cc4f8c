"""Back-off after a full queue: the waits between two submissions grow."""

from pipeline import clock
from pipeline.scheduler import NotNowError


class BackOff:
    """Delays submissions to a full queue: by one polling interval, then by twice as long each time.

    The delay never exceeds `MAX_INTERVALS` polling intervals.
    """

    MAX_INTERVALS = 20

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self.message = ""
        self._intervals = 1
        self._until = 0.0

    def check(self) -> None:
        """Return if a submission may be tried now.

        Raises:
            NotNowError: The queue refused the last submission, and the delay is not over.
        """
        if self.holds:
            raise NotNowError(self.message)

    @property
    def holds(self) -> bool:
        """Whether it is too early to try again."""
        return clock.monotonic() < self._until

    def refused(self, error: Exception) -> None:
        """Note a failed submission; only a queue that takes no more jobs starts a delay."""
        if isinstance(error, NotNowError):
            self.message = str(error)
            self._until = clock.monotonic() + self._intervals * self.interval_seconds
            self._intervals = min(2 * self._intervals, self.MAX_INTERVALS)

    def accepted(self) -> None:
        """Note an accepted submission."""
        self.message, self._intervals, self._until = "", 1, 0.0
