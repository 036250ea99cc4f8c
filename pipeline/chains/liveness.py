"""Whether a job that runs has gone silent, by the heartbeat of its first process."""

from pipeline import clock
from pipeline.job import JobStatus, State
from pipeline.run import RunError, TaskFolder, read_json


class Silence:
    """Notices a job that runs and gives no sign of life: frozen, or stopped.

    Its own watchdog ends a process that is silent for `hang_seconds`; one that is silent for twice
    as long cannot, and the scheduler would charge it to the end of its walltime.
    """

    def __init__(self, folder: TaskFolder, job_key: str, seconds: float) -> None:
        self.folder, self.job_key, self.seconds = folder, job_key, seconds

    def __call__(self, status: JobStatus) -> bool:
        """Whether the job is to be ended; that is recorded then."""
        since = self._heard() or status.start
        if status.state is not State.RUNNING or since is None:
            return False
        silent = clock.time() - since
        if silent <= 2 * self.seconds:
            return False
        message = (
            f"Job {status.id} gave no sign of life for {silent:.0f} s, by {self.folder.heartbeat}: "
            "its processes are stopped, or a node is frozen. It was cancelled."
        )
        if not self.folder.result.exists():
            self.folder.fail("hang", message)
        return True

    def was_long(self, status: JobStatus) -> bool:
        """Whether the job's last sign of life came long before its end."""
        heard = self._heard()
        if heard is None or status.end is None:
            return False
        silent = status.end - heard >= self.seconds
        return silent and status.state in (State.FAILED, State.TIMEOUT)

    def _heard(self) -> float | None:
        """Return when this job's first process last gave a sign of life; None if it never did."""
        try:
            told = read_json(self.folder.heartbeat)
        except RunError:
            told = None
        return float(told["time"]) if told is not None and told["link"] == self.job_key else None
