"""One row: what was looked at, what was found, and what to do where that is wrong."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]
COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Check:
    """What was `found` of a thing named `name`; `todo` says what to do unless it is ok."""

    name: str
    state: State
    found: str
    todo: str = ""


def ok(name: str, found: str) -> Check:
    """Return a row that is as it should be."""
    return Check(name, "ok", found)


def failed(name: str, found: str, todo: str) -> Check:
    """Return a row that must be mended before a campaign runs."""
    return Check(name, "failed", found, todo)


def warning(name: str, found: str, todo: str) -> Check:
    """Return a row that somebody should look at."""
    return Check(name, "warning", found, todo)


def skipped(name: str, why: str) -> Check:
    """Return a row that does not apply here."""
    return Check(name, "skipped", why)


def printed(command: Sequence[str], *, seconds: float = COMMAND_SECONDS) -> tuple[int, str]:
    """Return the exit code of `command` and what it printed; 127 without it, 124 if it hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except FileNotFoundError:
        return 127, f"{command[0]}: no such command"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} said nothing for {seconds:g} s"
    return done.returncode, (done.stdout + done.stderr).strip()
