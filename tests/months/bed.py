"""A campaign that lives for months: its file, its run folder, and the commands typed over both."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

CAMPAIGN = Path(__file__).with_name("campaign.toml")
RUN_SECONDS = 900


@dataclass
class Bed:
    """A campaign's `content` as it is now, the folder `place` that all of it lies in, and a site.

    `root` is where run folders live; it moves with the run. `words` stand after each command line,
    and `before` before it; `environment` is added to this one.
    """

    place: Path
    site: str
    project: str = "m4722"
    content: dict[str, Any] = field(default_factory=lambda: tomllib.loads(CAMPAIGN.read_text()))
    root: Path = Path()
    words: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.root if self.root != Path() else self.place / "runs"
        self.place.mkdir(parents=True, exist_ok=True)

    @property
    def file(self) -> Path:
        """The campaign's file."""
        return self.place / "campaign.toml"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.root / str(self.content["name"])

    @property
    def whole_environment(self) -> dict[str, str]:
        """The environment of each command."""
        ours = {"COSMOTRON_PROJECT": self.project, "OMP_NUM_THREADS": "1"}
        return {**os.environ, **ours, **self.environment}

    def save(self) -> None:
        """Write the campaign's file as it is now."""
        self.file.write_text(tomli_w.dumps(self.content))

    def type(self, verb: str, *words: object) -> "Typed":
        """Type a verb over the campaign; return its exit code and what it printed."""
        self.save()
        where = ("--site", self.site, "--root", self.root)
        return self.over(self.file, verb, *words, *where, *self.words)

    def over(self, what: Path, verb: str, *words: object) -> "Typed":
        """Type a verb over something else."""
        line = [*self.before, sys.executable, "-m", "pipeline", verb, what, *words]
        done = subprocess.run(
            [*map(str, line)],
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
            env=self.whole_environment,
        )
        return Typed(done.returncode, done.stdout, done.stderr)

    def products(self) -> dict[str, str]:
        """Return what marks the product of each finished task: another one if it is made again.

        The inode counts too, so that a product that comes out the same is seen to be made again;
        a copy of a run has other ones, so compare copies by `results`.
        """
        return dict(self._marks(with_inodes=True))

    def results(self) -> dict[str, str]:
        """Return the same without inodes."""
        return dict(self._marks(with_inodes=False))

    def _marks(self, *, with_inodes: bool) -> Iterator[tuple[str, str]]:
        for done in sorted(self.run.glob("*/*/DONE")):
            result = done.parent / "result.json"
            mark = hashlib.sha256(result.read_bytes() if result.exists() else b"").hexdigest()[:12]
            inode = f" {done.stat().st_ino} {done.stat().st_mtime_ns}" if with_inodes else ""
            yield "/".join(done.parts[-3:-1]), mark + inode


@dataclass(frozen=True)
class Typed:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The tasks of a `plan --json`, by their keys."""
        return {step["task"]: step for step in json.loads(self.out)["steps"]}

    @property
    def charged(self) -> float:
        """The node-hours that a `budget --json` has charged in all, over its rows."""
        return sum(row["charged_node_hours"] for row in json.loads(self.out)["rows"])
