"""The run folder: every path in it, and how a task finishes there.

<root>/<campaign>/  campaign.toml  site.toml  environment.json  ledger/  report/
  controllers/  data/<dataset>.zarr
  <stage>/<task name>/  task.toml  logs/  metrics.jsonl  checkpoints/  result.json  DONE
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from pipeline import claims, records
from pipeline.records import Ending, Product
from pipeline.writing import write_text

PREDICT = "predict"  # the stage of files that are predicted


@dataclass(frozen=True)
class TaskFolder:
    """The files of one task, as properties."""

    path: Path

    @property
    def declaration(self) -> Path:
        """The resolved task: all that a compute node needs."""
        return self.path / "task.toml"

    @property
    def logs(self) -> Path:
        """The scripts of the task's jobs, and their output."""
        return self.path / "logs"

    @property
    def parts(self) -> Path:
        """One small JSON per finished part of a task that fans out."""
        return self.path / "parts"

    @property
    def finished_parts(self) -> list[Path]:
        """The records of finished parts: the numbered files among the others."""
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
        """One JSON per link of a training (`records.LinkRecord`)."""
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
    def saved(self) -> list[int]:
        """The events seen of each checkpoint, ascending."""
        names = (path.name for path in self.checkpoints.glob("step-*[0-9]"))
        return sorted(int(name.removeprefix("step-")) for name in names)

    @property
    def beginning(self) -> Path:
        """Where the training began, if something was made here before (`records.Beginning`)."""
        return self.path / "beginning.json"

    @property
    def result(self) -> Path:
        """How the task ended, with its numbers (`records.Ending`)."""
        return self.path / "result.json"

    @property
    def pictures(self) -> Path:
        """What is drawn of an evaluation or a probe (`pipeline.evaluation.result.Pictures`)."""
        return self.path / "pictures.json"

    @property
    def events(self) -> Path:
        """The first events of an evaluation, with what was predicted of them, to look at."""
        return self.path / "events.npz"

    @property
    def predictions(self) -> Path:
        """What an evaluation predicted of every event (`pipeline.data.predictions`)."""
        return self.path / "predictions.parquet"

    @property
    def prediction_parts(self) -> Path:
        """The parts of it that are made, until all are."""
        return self.path / "predictions.parts"

    @property
    def done(self) -> Path:
        """The marker that the product is complete."""
        return self.path / "DONE"

    @property
    def claim(self) -> Path:
        """The claim of the process that works here (`pipeline.claims`)."""
        return self.path / "claim"

    @property
    def heartbeat(self) -> Path:
        """The last heartbeat of a training (`records.Heartbeat`)."""
        return self.path / "heartbeat.json"

    @property
    def chain(self) -> Path:
        """The history of a chain: which links began, how each ended, why no other follows."""
        return self.path / "chain"

    @property
    def save_request(self) -> Path:
        """A file that requests the link to save and end; the next one continues."""
        return self.path / "SAVE"

    @property
    def stop(self) -> Path:
        """While this file exists the task saves and ends, and no link of it is submitted."""
        return self.path / "STOP"

    @property
    def campaign(self) -> Path:
        """The campaign as it was last run; the task's folder is <stage>/<name> below it."""
        return self.path.parent.parent / "campaign.toml"

    @property
    def run_stop(self) -> Path:
        """The same for the whole run; the task's folder is <stage>/<name> in it."""
        return self.path.parent.parent / "STOP"

    def stacks(self, rank: int) -> Path:
        """Return the file with the thread stacks of process `rank` of a link that hung."""
        return self.logs / f"stacks-rank-{rank}.txt"

    @property
    def is_done(self) -> bool:
        """Whether the task's product is complete."""
        return self.done.is_file()

    def finish(self, result: Product) -> None:
        """Record `result`, then mark the task done; a kill in between leaves it not done.

        Raises:
            SupersededError: Another process has taken the task over, whose result it is.
        """
        claims.confirm()
        records.write(self.result, result)
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
    def controllers(self) -> Path:
        """A small file for each controller: whose, from when to when (`pipeline.attendance`)."""
        return self.path / "controllers"

    @property
    def forecast(self) -> Path:
        """The last forecast, for the report."""
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
        """The content of the folder, and which task made it from what: an RO-Crate."""
        return self.path / "ro-crate-metadata.json"

    @property
    def stop(self) -> Path:
        """While this file exists every training saves and ends, and nothing is submitted."""
        return self.path / "STOP"

    @property
    def code(self) -> Path:
        """Copies of our own code, `<digest>/` each, which jobs import."""
        return self.path / "code"

    @property
    def replaced(self) -> Path:
        """What was made again for a changed campaign, as it was: `<number>/`, in order of time."""
        return self.path / "replaced"

    @property
    def preflight(self) -> Path:
        """The checks of the site before the first submission."""
        return self.path / "preflight.json"

    @property
    def node_failures(self) -> Path:
        """The jobs whose end may be the fault of a node, one file each."""
        return self.path / "node-failures"

    @property
    def bundles(self) -> Path:
        """The scripts of jobs that several trainings share, and their output."""
        return self.path / "bundles"

    @property
    def parsl(self) -> Path:
        """Parsl's own logs."""
        return self.path / "parsl"

    @property
    def local_jobs(self) -> Path:
        """The records of the jobs of a machine without a scheduler, one file each."""
        return self.path / "local" / "jobs"

    @property
    def claim(self) -> Path:
        """The claim of the controller that drives the campaign (`pipeline.claims`)."""
        return self.path / "controller"

    @property
    def identity(self) -> str:
        """The name that no other run has, not even an earlier one in a folder of this name.

        Before `identify` it is the path, which is enough to show a plan.
        """
        try:
            return self.identity_file.read_text().strip()
        except FileNotFoundError:
            return str(self.path.resolve())

    @property
    def identity_file(self) -> Path:
        """The file with the identity; it moves with the folder."""
        return self.path / "identity"

    def identify(self) -> None:
        """Write the run's identity, once."""
        if not self.identity_file.exists():
            write_text(self.identity_file, uuid.uuid4().hex + "\n")

    def store(self, dataset: str) -> Path:
        """Return the folder of the Zarr store of `dataset`."""
        return self.path / "data" / f"{dataset}.zarr"

    def croissant(self, dataset: str) -> Path:
        """Return the file that describes the store of `dataset` to other tools."""
        return self.store(dataset).with_name(f"{dataset}.croissant.json")

    def of_campaign(self, name: str) -> list[Path]:
        """Return the files `name` in the folders of a campaign's tasks, sorted.

        Files that were predicted are tasks of a run, and of no campaign.
        """
        found = self.path.glob(f"*/*/{name}")
        return sorted(path for path in found if path.parts[-3] != PREDICT)

    def task(self, key: str) -> TaskFolder:
        """Return the folder of the task `key`, "<stage>/<name>"."""
        return TaskFolder(self.path / key)
