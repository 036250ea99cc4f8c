"""Batch scripts for another machine than this one: its own variables, and its own Python."""

import re
import shlex
import sys
from dataclasses import dataclass

VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
PLAIN = re.compile(r'(["\\`$])')


@dataclass(frozen=True)
class Elsewhere:
    """The run folder `run` on that machine, in which its shell expands variables.

    A script for it says `$run_folder` and `$python`, which it sets before it needs them.
    """

    run: str

    @property
    def run_folder(self) -> str:
        """The run folder as a word of the script, which ends where a variable is not set."""
        path = re.sub(r"^~(?=/|$)", "$HOME", self.run)
        words, begin = [], 0
        for found in VARIABLE.finditer(path):
            words += [_plain(path[begin : found.start()]), _set(found[1] or found[2])]
            begin = found.end()
        return f'"{"".join(words)}{_plain(path[begin:])}"'

    def quote(self, word: str) -> str:
        """Return `word` for the shell, by the variables of the script."""
        if word == sys.executable:
            return '"$python"'
        pieces = [shlex.quote(each) if each else "" for each in word.split(self.run)]
        return '"$run_folder"'.join(pieces) or "''"


def _set(name: str) -> str:
    return f"${{{name}:?is not set on this machine}}"


def _plain(text: str) -> str:
    """Return `text` so that it means itself between double quotes."""
    return PLAIN.sub(r"\\\1", text)
