"""Whether a running job still makes progress, by the heartbeat of its first process."""

from pipeline import clock, records
from pipeline.job import JobStatus, State
from pipeline.outcome import RunError
from pipeline.records import Heartbeat
from pipeline.run import TaskFolder


class Liveness:
    """Notices a running job whose heartbeat has stopped, because it is frozen or stopped.

    The watchdog of a process ends it after `hang_seconds` without a step. After twice as long the
    watchdog itself cannot run, and the scheduler would charge the job until its walltime.
    """

    def __init__(self, folder: TaskFolder, job_key: str, seconds: float) -> None:
        self.folder, self.job_key, self.seconds = folder, job_key, seconds

    def __call__(self, status: JobStatus) -> bool:
        """Whether the job has to be cancelled; if so, this records the hang."""
        since = self._last_beat() or status.start
        if status.state is not State.RUNNING or since is None:
            return False
        missed = clock.time() - since
        if missed <= 2 * self.seconds:
            return False
        message = (
            f"Job {status.id} had no heartbeat for {missed:.0f} s, by {self.folder.heartbeat}: "
            "its processes are stopped, or a node is frozen. It was cancelled."
        )
        if not self.folder.result.exists():
            self.folder.fail("hang", message)
        return True

    def was_lost(self, status: JobStatus) -> bool:
        """Whether the job's last heartbeat came at least `seconds` before its end."""
        last = self._last_beat()
        if last is None or status.end is None:
            return False
        missed = status.end - last >= self.seconds
        return missed and status.state in (State.FAILED, State.TIMEOUT)

    def _last_beat(self) -> float | None:
        """Return the time of this job's last heartbeat; None if it had none."""
        try:
            beat = records.read(self.folder.heartbeat, Heartbeat)
        except RunError:
            beat = None
        return beat.time if beat is not None and beat.link == self.job_key else None
