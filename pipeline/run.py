"""The run folder: every path in it, and how a task finishes there.

<root>/<campaign>/  campaign.toml  site.toml  environment.json  ledger/  report/
  data/<dataset>.zarr
  <stage>/<task name>/  task.toml  logs/  metrics.jsonl  checkpoints/  result.json  DONE
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import records
from pipeline.records import Ending, Product
from pipeline.writing import write_json, write_text


@dataclass(frozen=True)
class TaskFolder:
    """The files of one task, as properties."""

    path: Path

    @property
    def declaration(self) -> Path:
        """The resolved task, all that a compute node needs to know."""
        return self.path / "task.toml"

    @property
    def logs(self) -> Path:
        """What the task's jobs printed, and their scripts."""
        return self.path / "logs"

    @property
    def parts(self) -> Path:
        """One small JSON per finished part of a task that fans out."""
        return self.path / "parts"

    @property
    def finished_parts(self) -> list[Path]:
        """The records of parts that are finished, numbered files among what else lies there."""
        return [path for path in self.parts.glob("*.json") if path.stem.isdigit()]

    @property
    def metrics(self) -> Path:
        """One JSON object per training step."""
        return self.path / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        """How far the task is: {"done": n, "total": m, "unit": "events"}."""
        return self.path / "progress.json"

    @property
    def links(self) -> Path:
        """One JSON per link of a training: when it began, worked and ended."""
        return self.path / "links"

    @property
    def link_records(self) -> list[Path]:
        """The records of the links that took a step, in their order."""
        return sorted(path for path in self.links.glob("*.json") if path.stem.isdigit())

    @property
    def profile(self) -> Path:
        """A trace of some steps, and a table of where they went."""
        return self.path / "profile"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints, `step-<samples>` each."""
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        """How the task ended, with its numbers."""
        return self.path / "result.json"

    @property
    def done(self) -> Path:
        """The marker that the product is whole."""
        return self.path / "DONE"

    @property
    def claim(self) -> Path:
        """Which process works here now."""
        return self.path / "claim.json"

    @property
    def heartbeat(self) -> Path:
        """The last sign of life of a training: time, step, rank, host, job."""
        return self.path / "heartbeat.json"

    @property
    def chain(self) -> Path:
        """The links of a training: which were begun, how each ended, why there is no other."""
        return self.path / "chain"

    @property
    def save_request(self) -> Path:
        """Whoever makes this file asks the link to save and end; the next one goes on."""
        return self.path / "SAVE"

    @property
    def stop(self) -> Path:
        """While this file is there the task saves and ends, and no link of it is submitted."""
        return self.path / "STOP"

    @property
    def run_stop(self) -> Path:
        """The same for the whole run, of which the task's folder is <stage>/<name>."""
        return self.path.parent.parent / "STOP"

    def stacks(self, rank: int) -> Path:
        """Return where the process `rank` of a link that hung left the stacks of its threads."""
        return self.logs / f"stacks-rank-{rank}.txt"

    @property
    def is_done(self) -> bool:
        """Whether the task's product is whole."""
        return self.done.is_file()

    def finish(self, result: Product | Mapping[str, Any]) -> None:
        """Record `result`, then mark the task done; a kill in between leaves it not done."""
        if isinstance(result, Product):
            records.write(self.result, result)
        else:
            write_json(self.result, {"outcome": "finished", **result})
        write_text(self.done, "")

    def fail(self, outcome: str, message: str) -> None:
        """Record why the task ended without its product."""
        records.write(self.result, Ending(outcome=outcome, message=message))


@dataclass(frozen=True)
class Run:
    """One campaign's folder; every path in it is a property here."""

    root: Path
    campaign: str

    @property
    def path(self) -> Path:
        """The run folder itself."""
        return self.root / self.campaign

    @property
    def declaration(self) -> Path:
        """The campaign as it was first run."""
        return self.path / "campaign.toml"

    @property
    def site(self) -> Path:
        """The site as it was last run."""
        return self.path / "site.toml"

    @property
    def environment(self) -> Path:
        """Versions, git commit and machine of the last controller."""
        return self.path / "environment.json"

    @property
    def ledger(self) -> Path:
        """The folder of node-hour records, one immutable file each."""
        return self.path / "ledger"

    @property
    def forecast(self) -> Path:
        """What was expected when somebody last asked, for the report."""
        return self.path / "forecast.json"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    @property
    def page(self) -> Path:
        """The report: one self-contained HTML page."""
        return self.report / "index.html"

    @property
    def crate(self) -> Path:
        """What lies in the folder, and which task made it of what: an RO-Crate."""
        return self.path / "ro-crate-metadata.json"

    @property
    def stop(self) -> Path:
        """While this file is there every training saves and ends, and nothing is submitted."""
        return self.path / "STOP"

    @property
    def code(self) -> Path:
        """Copies of our own code, `<digest>/` each, which jobs import."""
        return self.path / "code"

    @property
    def preflight(self) -> Path:
        """What was found of the site before the first submission."""
        return self.path / "preflight.json"

    @property
    def node_failures(self) -> Path:
        """The jobs whose end may be the fault of a node, one file each."""
        return self.path / "node-failures"

    @property
    def bundles(self) -> Path:
        """The scripts of jobs that several trainings share, and what those printed themselves."""
        return self.path / "bundles"

    @property
    def parsl(self) -> Path:
        """Parsl's own logs."""
        return self.path / "parsl"

    @property
    def claim(self) -> Path:
        """Which controller drives the campaign now."""
        return self.path / "controller.json"

    @property
    def identity(self) -> str:
        """What tells this run from any other, also from an earlier one in a folder of this name.

        Before `identify` there is only the path to go by, which is enough to show a plan.
        """
        try:
            return self.identity_file.read_text().strip()
        except FileNotFoundError:
            return str(self.path.resolve())

    @property
    def identity_file(self) -> Path:
        """Where the identity is kept; it moves with the folder."""
        return self.path / "identity"

    def identify(self) -> None:
        """Give the run its identity, once."""
        if not self.identity_file.exists():
            write_text(self.identity_file, uuid.uuid4().hex + "\n")

    def store(self, dataset: str) -> Path:
        """Return the folder of the Zarr store of `dataset`."""
        return self.path / "data" / f"{dataset}.zarr"

    def croissant(self, dataset: str) -> Path:
        """Return the file that describes the store of `dataset` to other tools."""
        return self.store(dataset).with_name(f"{dataset}.croissant.json")

    def task(self, key: str) -> TaskFolder:
        """Return the folder of the task `key`, "<stage>/<name>"."""
        return TaskFolder(self.path / key)
