"""Calls of a scheduler's commands, with an error of its own for each way to fail."""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence

from pipeline import clock
from pipeline.job import Job
from pipeline.scheduler.interface import NotNowError, SchedulerError
from pipeline.writing import write_text


def call(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_seconds: float,
    not_now: re.Pattern[str],
    harmless: re.Pattern[str] | None = None,
) -> str:
    """Return the output of `command`, also if all its complaints are `harmless`.

    Raises:
        NotNowError: Its error matches `not_now`, or it exceeds `timeout_seconds`.
        SchedulerError: It fails otherwise, or does not exist.
    """
    try:
        done = subprocess.run(
            command,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        message = (
            f"{command[0]}: no such command. Is this a login node of the site? "
            "Load its scheduler's module, or choose another machine with --site."
        )
        raise SchedulerError(message) from error
    except subprocess.TimeoutExpired as error:
        message = (
            f"{command[0]} did not answer within {timeout_seconds:g} s. Run the same "
            "command again: jobs are looked up by key and never submitted twice."
        )
        raise NotNowError(message) from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip()
        if harmless and words and all(harmless.search(line) for line in words.splitlines()):
            return str(error.stdout)
        message = f"{command[0]} failed with exit code {error.returncode}: {words}"
        raise (NotNowError if not_now.search(words) else SchedulerError)(message) from error
    return done.stdout


def submit_once(
    job: Job,
    text: str,
    *,
    tried_since: float | None,
    find: Callable[[str, float], str | None],
    ask: Callable[[], str],
) -> str:
    """Write the script of `job` and return its id: from `ask`, or of a job with the same key.

    The job's key is looked up first if a submission may have been tried since `tried_since`, and
    again after a lost answer, since the scheduler may have accepted the job.

    Raises:
        NotNowError: The submission may pass later, and no job has that key.
        SchedulerError: The scheduler refused the job.
    """
    known = None if tried_since is None else find(job.key, tried_since)
    if known is not None:
        return known
    write_text(job.script, text)
    began = clock.time()
    try:
        return ask()
    except NotNowError:
        taken = find(job.key, began)
        if taken is None:
            raise
        return taken
