"""A page of docs/ as a reader follows it: files saved, commands typed, Python run, in its order.

A block of code is a file where the line above it ends in "`NAME`:" and says to save it or to add it
to the end of one. A block without a language holds commands; one that does not begin with one of
`TYPED` is what a screen shows. Every other block of Python is run in one notebook.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"(?P<above>[^\n]*)\n+```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"\b(?P<verb>[Ss]ave|[Aa]dd)\b.*`(?P<name>[\w./-]+)`:$")
TYPED = ("cosmotron ", "python ", "mkdir ", "mv ", "cp ")


@dataclass(frozen=True)
class Step:
    """What a reader does: "save" or "add" to `file`, "type" in a shell, or "run" in a notebook."""

    kind: str
    text: str
    file: str = ""


def steps(page: Path) -> Iterator[Step]:
    """Yield what a reader of the page does, in its order."""
    for block in BLOCK.finditer(page.read_text()):
        saved = FILE.search(block["above"])
        if saved is not None:
            yield Step(saved["verb"].lower(), block["text"], saved["name"])
        elif block["language"] == "python":
            yield Step("run", block["text"])
        elif not block["language"] and block["text"].startswith(TYPED):
            yield Step("type", block["text"])


def follow(page: Path, folder: Path) -> dict[str, Any]:
    """Do all that `page` says in `folder`, the current one; return the names of the notebook."""
    names: dict[str, Any] = {}
    for step in steps(page):
        if step.file:
            with (folder / step.file).open("w" if step.kind == "save" else "a") as stream:
                stream.write(step.text)
        elif step.kind == "type":
            _typed(step.text, folder)
        else:
            exec(compile(step.text, page.name, "exec"), names)
    return names


def _typed(commands: str, folder: Path) -> None:
    """Type lines into a shell, in which `cosmotron` and `python` are those of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{commands}{ended.stdout}{ended.stderr}"
