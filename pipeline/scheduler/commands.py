"""A scheduler's own commands, called so that each way to fail is told apart."""

import re
import subprocess
from collections.abc import Mapping, Sequence

from pipeline.scheduler.interface import NotNowError, SchedulerError


def call(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_seconds: float,
    not_now: re.Pattern[str],
) -> str:
    """Return what `command` prints.

    Raises:
        NotNowError: It fails with words that `not_now` finds, or says nothing for so long.
        SchedulerError: It fails otherwise, or is not there.
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
        message = f"{command[0]} failed with exit code {error.returncode}: {words}"
        raise (NotNowError if not_now.search(words) else SchedulerError)(message) from error
    return done.stdout
