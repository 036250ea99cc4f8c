"""Read a run folder that may be half done, and remember what could not be read."""

import json
import zipfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import records
from pipeline.lines import whole_lines
from pipeline.outcome import RunError
from pipeline.records import AnyRecord
from pipeline.writing import read_json


@dataclass
class Reader:
    """Reads what is there; what is damaged reads as empty and is listed in `problems`."""

    problems: list[str] = field(default_factory=list)

    def record(self, path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
        """Return the record in `path`, None where there is none."""
        try:
            return records.read(path, kind)
        except (RunError, OSError) as error:
            self.problems.append(_message(path, error))
            return None

    def table(self, path: Path) -> dict[str, Any]:
        """Return the JSON object in `path`, empty where there is none."""
        try:
            return read_json(path) or {}
        except (RunError, OSError, UnicodeDecodeError) as error:
            self.problems.append(_message(path, error))
            return {}

    def columns(self, path: Path, *names: str) -> NDArray[np.float64]:
        """Return the numbers of these names in a file that grows by JSON lines: (lines, names).

        A line that lacks one is left out; a torn last line is no problem.
        """
        found = array("d")
        try:
            for line in map(json.loads, whole_lines(path)):
                if line.keys() >= {*names}:
                    found.extend(float(line[name]) for name in names)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            self.problems.append(_message(path, error))
            return np.zeros((0, len(names)))
        return np.frombuffer(found).reshape(-1, len(names))

    def arrays(self, path: Path) -> dict[str, NDArray[Any]]:
        """Return the arrays of an npz file, empty where there is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return {}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            self.problems.append(_message(path, error))
            return {}


def _message(path: Path, error: Exception) -> str:
    """Return what is wrong with `path`, naming it once."""
    text = str(error)
    return text if str(path) in text else f"{path}: cannot be read ({text})."
