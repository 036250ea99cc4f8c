"""Whether a running job still makes progress, by the heartbeat of its first process."""

from pipeline import records
from pipeline.job import JobStatus, State
from pipeline.outcome import RunError
from pipeline.records import Heartbeat
from pipeline.run import TaskFolder


class Liveness:
    """Notices a running job whose heartbeat has stopped, because it is frozen or stopped.

    The watchdog of a process ends it after `hang_seconds` without a step. After twice as long the
    watchdog itself cannot run, and the scheduler would charge the job until its walltime.

    Age is change seen by this process's own clock. The time for which the scheduler has suspended
    the job does not count.
    """

    def __init__(self, folder: TaskFolder, job_key: str, seconds: float) -> None:
        self.folder, self.job_key, self.seconds = folder, job_key, seconds
        self._beat: Heartbeat | None = None
        self._changed_at: float | None = None

    def __call__(self, status: JobStatus, now: float) -> bool:
        """Whether the job has to be cancelled; if so, this records the hang.

        `now` is in seconds, by a clock of this process that never goes back.
        """
        if status.state is not State.RUNNING:
            self._changed_at = None
            return False
        beat = self._last_beat()
        if self._changed_at is None or beat != self._beat:
            self._beat, self._changed_at = beat, now
            return False
        missed = now - self._changed_at
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
        """Whether the job's last heartbeat came at least `seconds` of its run before its end."""
        beat = self._last_beat()
        if beat is None or status.end is None:
            return False
        run_seconds = status.attempts[-1] if status.attempts else status.seconds
        missed = run_seconds - beat.seconds  # spans of one clock each: no two clocks are compared
        return missed >= self.seconds and status.state in (State.FAILED, State.TIMEOUT)

    def _last_beat(self) -> Heartbeat | None:
        """Return this job's last heartbeat; None if it had none."""
        try:
            beat = records.read(self.folder.heartbeat, Heartbeat)
        except RunError:
            beat = None
        return beat if beat is not None and beat.link == self.job_key else None
