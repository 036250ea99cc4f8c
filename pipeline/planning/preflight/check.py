"""One row of a check: its subject, the finding, and what to do about it."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]
COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Check:
    """The finding on one subject; `todo` says what to do unless the state is ok."""

    name: str
    state: State
    found: str
    todo: str = ""


def ok(name: str, found: str) -> Check:
    """Return a row that passed."""
    return Check(name, "ok", found)


def failed(name: str, found: str, todo: str) -> Check:
    """Return a row that must be fixed before a campaign runs."""
    return Check(name, "failed", found, todo)


def warning(name: str, found: str, todo: str) -> Check:
    """Return a row that deserves attention."""
    return Check(name, "warning", found, todo)


def skipped(name: str, why: str) -> Check:
    """Return a row that does not apply here."""
    return Check(name, "skipped", why)


@dataclass(frozen=True)
class Printed:
    """What a command printed, and its exit code: 127 if it does not exist, 124 if it hangs."""

    code: int
    out: str
    err: str = ""

    @property
    def words(self) -> str:
        """All that it printed, for the user."""
        return (self.out + self.err).strip()


def printed(
    command: Sequence[str],
    *,
    seconds: float = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Return the exit code and all output of `command`, as `called` has them."""
    done = called(command, seconds=seconds, environment=environment)
    return done.code, done.words


def called(
    command: Sequence[str],
    *,
    seconds: float = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Printed:
    """Return what `command` prints; its errors and warnings are not in `out`.

    It has the `environment`, or that of this process.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, env=environment
        )
    except FileNotFoundError:
        return Printed(127, "", f"{command[0]}: no such command")
    except subprocess.TimeoutExpired:
        return Printed(124, "", f"{command[0]} did not end within {seconds:g} s")
    return Printed(done.returncode, done.stdout, done.stderr)
