"""Hold the pinned packages against known vulnerabilities, where the registry answers.

pip-audit asks the registry for each line of constraints.txt; a mirror without its advisories
answers for none, and then nothing is known, which is no failure.

Example: python tests/audit.py
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parents[1] / "constraints.txt"
SECONDS = 300
# What we have looked at and live with, by its id, with the reason.
ACCEPTED: dict[str, str] = {}


def asked() -> dict[str, Any] | None:
    """Return what pip-audit found, as JSON; None where no registry answers."""
    if importlib.util.find_spec("pip_audit") is None:
        message = "audit: pip-audit is not installed here. Run make, which installs it."
        raise SystemExit(message)
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--no-deps", "--disable-pip"]
    command += ["--progress-spinner=off", "--requirement", str(PINNED)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return found


def vulnerable(found: dict[str, Any]) -> list[str]:
    """Return a line for each known vulnerability of a pinned package that is not accepted."""
    return [
        f"{each['name']} {each['version']}: {known['id']}, mended in "
        f"{', '.join(known['fix_versions']) or 'no version yet'}"
        for each in found["dependencies"]
        for known in each.get("vulns", ())
        if known["id"] not in ACCEPTED
    ]


def state(found: dict[str, Any] | None) -> tuple[int, str]:
    """Return the exit code and the words for what was found."""
    each = [] if found is None else found["dependencies"]
    answered = [one for one in each if "skip_reason" not in one]
    if found is None or not answered:
        return 0, "audit: the registry here has no advisories; nothing was checked."
    problems = vulnerable(found)
    if problems:
        advice = "Raise the pin in constraints.txt, or accept it in tests/audit.py with a reason."
        return 1, "\n".join(["audit: known vulnerabilities:", *problems, advice])
    count = f"{len(answered)} of {len(each)}"
    return 0, f"audit: {count} packages checked, none is known to be at risk."


if __name__ == "__main__":
    code, words = state(asked())
    print(words)
    raise SystemExit(code)
