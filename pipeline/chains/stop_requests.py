"""Stop requests: a file STOP in the folder of a run or a task says who stopped it, and why."""

import json
import socket
import time
from pathlib import Path

from pipeline.run import Run
from pipeline.trust import user_name
from pipeline.writing import write_json


def write(path: Path, reason: str) -> None:
    """Write a stop request to `path`: by whom, on which host, when and why."""
    request = {
        "by": user_name(),
        "host": socket.gethostname(),
        "reason": reason,
        "time": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }
    write_json(path, request)


def message(run: Run, task_key: str = "") -> str:
    """Return the message of the stop request for `task_key` or the whole run; empty if none."""
    if run.stop.exists():
        return f"{_described(run.stop)} To continue: cosmotron stop {run.campaign} --undo"
    path = run.task(task_key).stop
    if task_key and path.exists():
        return f"{_described(path)} To continue: cosmotron stop {run.campaign} {task_key} --undo"
    return ""


def _described(path: Path) -> str:
    """Return who stopped it, when and why; a file made by hand is quoted as it is."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:  # withdrawn in the meantime
        text = ""
    try:
        request = json.loads(text)
        who = f"by {request['by']} on {request['host']}, {request['time']}"
        reason = request["reason"]
    except (ValueError, TypeError, KeyError):
        who, reason = "by hand", text
    return f"Stopped {who}{f' ({reason})' if reason else ''}: {path} exists."
