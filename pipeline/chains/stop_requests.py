"""The order to stop, a file STOP in the run's folder or a task's: who gave it, and the way back."""

import getpass
import json
import socket
import time
from pathlib import Path

from pipeline.run import Run
from pipeline.writing import write_json


def give(path: Path, reason: str) -> None:
    """Write the order: by whom, where, when and why."""
    who = {"by": getpass.getuser(), "host": socket.gethostname(), "reason": reason}
    write_json(path, who | {"time": time.strftime("%Y-%m-%d %H:%M:%S %Z")})


def standing(run: Run, task_key: str = "") -> str:
    """Return what to tell of an order that stands over `task_key`, or the run; empty if none."""
    if run.stop.exists():
        return f"{_given(run.stop)} To go on: cosmotron stop {run.campaign} --undo"
    path = run.task(task_key).stop
    if task_key and path.exists():
        return f"{_given(path)} To go on: cosmotron stop {run.campaign} {task_key} --undo"
    return ""


def _given(path: Path) -> str:
    """Return who stopped it, when and why; a file that was made by hand says what it says."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:  # taken back meanwhile
        text = ""
    try:
        order = json.loads(text)
        who = f"by {order['by']} on {order['host']}, {order['time']}"
        reason = order["reason"]
    except (ValueError, TypeError, KeyError):
        who, reason = "by hand", text
    return f"Stopped {who}{f' ({reason})' if reason else ''}: {path} is there."
