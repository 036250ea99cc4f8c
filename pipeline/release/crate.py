"""The run folder as an RO-Crate: its contents, and which task made what from what.

RO-Crate 1.1, https://w3id.org/ro/crate/1.1, in the profile for runs of programs, Process Run Crate
0.5, https://w3id.org/ro/wfrun/process/0.5. The library generates JSON-LD; we
write the file, since its own `write` copies every data entity, and runs are large.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from pipeline.budget.account import Account
from pipeline.campaign import Campaign, model_folder
from pipeline.campaign.provenance import Provenance
from pipeline.data.checksums import sha256
from pipeline.data.store import MANIFEST, Manifest
from pipeline.outcome import RunError
from pipeline.records import Evaluated, Weights
from pipeline.release.croissant import FORMAT, described_in_words
from pipeline.release.software import software
from pipeline.report.tasks import TaskView
from pipeline.run import Run

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
# `sha256` and `resourceUsage` are terms of this one: RO-Crate 1.1 has neither.
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
WEIGHTS = "weights.safetensors"
ENCODINGS = {
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".npz": "application/zip",
    ".parquet": "application/vnd.apache.parquet",
    ".toml": "application/toml",
}
ACTIONS = {
    "simulate": "Simulate collisions as files in a schema of the experiment.",
    "stage": "Stage source files into a sharded Zarr store.",
    "fetch": "Copy a store from an address, each file held to its manifest.",
    "tokenize": "Train a tokenizer, and write a store of its tokens.",
    "pretrain": "Pretrain a model on events without labels.",
    "features": "Write what a frozen backbone makes of the events of a store.",
    "finetune": "Train a head for a downstream task.",
    "evaluate": "Evaluate a fine-tuned model on events it never saw.",
    "probe": "Evaluate a pretrained model as it is, on events it never saw.",
}
STORING = ("stage", "fetch", "tokenize", "features")  # whose `store` is what they make
STATUS = {"done": "CompletedActionStatus", "failed": "FailedActionStatus"}
TRAINED = "The weights of a trained model."
UNDECLARED = "No licence is declared: ask whoever ran this before you use it."
Entity = Any  # of rocrate, which has no types


@dataclass
class Contents:
    """A crate that grows by each existing file and folder of `run`, once."""

    run: Run
    crate: Any
    newest: float = 0.0

    def file(
        self, path: Path, description: str, *, dated: bool = True, **more: Any
    ) -> list[Entity]:
        """Return the file at `path` in a list, which is empty where there is none.

        Weights may be large, and are not hashed, nor is what comes with its `sha256`; the date of
        what is `dated` counts for the run.
        """
        name = self._inside(path)
        if name is None or not path.is_file():
            return []
        known = self.crate.get(name.as_posix())
        if known is not None:
            return [known]
        state = path.stat()
        self.newest = max(self.newest, state.st_mtime if dated else 0.0)
        facts = {
            "name": name.as_posix(),
            "description": description,
            "encodingFormat": ENCODINGS.get(path.suffix, "application/octet-stream"),
            "contentSize": str(state.st_size),
            **({} if path.name == WEIGHTS or "sha256" in more else {"sha256": sha256(path)}),
        }
        return [self.crate.add_file(path, name, properties=facts | more)]

    def folder(self, path: Path, description: str, **more: Any) -> list[Entity]:
        """Return the folder at `path` in a list, which is empty where there is none."""
        name = self._inside(path)
        if name is None or not path.is_dir():
            return []
        known = self.crate.get(f"{name.as_posix()}/")
        facts = {"name": name.as_posix(), "description": description, **more}
        return [known or self.crate.add_dataset(path, name, properties=facts)]

    def about(self, identity: str, kind: str, **facts: Any) -> Entity:
        """Return an entity that is not a file of the crate."""
        properties = {"@type": kind, **facts}
        return self.crate.add(ContextEntity(self.crate, identity, properties=properties))

    def _inside(self, path: Path) -> Path | None:
        """Return `path` as seen from the run folder, None where it lies elsewhere."""
        home = self.run.path
        same = ((path, home), (path.absolute(), home.absolute()), (path.resolve(), home.resolve()))
        for seen, folder in same:
            if seen.is_relative_to(folder):
                return seen.relative_to(folder)
        return None


def crate(
    run: Run,
    campaign: Campaign,
    stores: Mapping[str, Manifest],
    tasks: Sequence[TaskView],
    accounts: Sequence[Account],
    environment: Mapping[str, Any],
) -> str:
    """Return the metadata of the run folder as JSON-LD; `stores` are those that are whole.

    Raises:
        RunError: There is nothing in the folder that could be described.
    """
    contents = Contents(run, ROCrate(version="1.1"))
    contents.crate.metadata.extra_contexts.append(TERMS)
    _declarations(contents)
    for name, manifest in stores.items():
        _store(contents, name, manifest)
    instrument = software(contents.about, environment)
    for task in tasks:
        if task.state in STATUS:
            jobs = [each for each in accounts if each.task == task.key]
            _action(contents, task, jobs, instrument)
    if not contents.newest:
        message = (
            f"{run.path}: nothing in it to describe. Start with: cosmotron run {campaign.name}"
        )
        raise RunError(message)
    _root(contents, campaign, tasks)
    return json.dumps(_compact(contents.crate), indent=2, sort_keys=True) + "\n"


def _compact(crate: ROCrate) -> dict[str, Any]:
    """Return the JSON-LD of a crate, in which a list of one is that one, as RO-Crate asks."""
    written: dict[str, Any] = crate.metadata.generate()
    written["@graph"] = [
        {
            key: value[0] if isinstance(value, list) and len(value) == 1 else value
            for key, value in entity.items()
        }
        for entity in written["@graph"]
    ]
    return written


def _root(contents: Contents, campaign: Campaign, tasks: Sequence[TaskView]) -> None:
    """Describe the whole crate: its name, date, licence and profile."""
    root = contents.crate.root_dataset
    done = sum(task.state == "done" for task in tasks)
    root["name"] = f"{campaign.name}: a run of Cosmotron"
    root["description"] = f"{campaign.description} {done} of {len(tasks)} tasks are done.".strip()
    root["datePublished"] = iso(contents.newest)
    root["conformsTo"] = contents.about(
        PROFILE, "CreativeWork", name="Process Run Crate", version=PROFILE.rpartition("/")[2]
    )
    given = campaign.provenance or Provenance()
    root["license"] = UNDECLARED
    if given.licence:
        described = "The licence that the campaign declares."
        root["license"] = contents.about(
            given.licence_address, "CreativeWork", name=given.licence, description=described
        )


def _declarations(contents: Contents) -> None:
    """Describe the files of the folder that do not depend on its tasks."""
    run = contents.run
    contents.file(run.declaration, "The campaign: what was declared.")
    contents.file(run.site, "The declaration of the site.")
    contents.file(run.environment, "Versions, git commit and machine of the last controller.")
    contents.file(run.page, "The report: results, data, node-hours.")
    contents.folder(run.ledger, "The ledger of node-hours: one record a file, never changed.")


def _store(contents: Contents, name: str, manifest: Manifest) -> None:
    """Describe the store `name`: its size, the hash of its content, its Croissant file."""
    run, folder = contents.run, contents.run.store(name)
    contents.about(FORMAT, "CreativeWork", name="Croissant", version=FORMAT.rpartition("/")[2])
    facts: dict[str, int | str] = {
        f"events of split {split}": count for split, count in manifest.events.items()
    }
    facts["SHA-256 of the content"] = manifest.content_sha256
    values = [
        contents.about(f"#{folder.name}/{index}", "PropertyValue", name=label, value=value)
        for index, (label, value) in enumerate(facts.items())
    ]
    described = contents.file(
        run.croissant(name),
        f"What {folder.name} holds, for tools that read Croissant.",
        dated=False,
        conformsTo={"@id": FORMAT},
    )
    contents.folder(
        folder,
        described_in_words(manifest),
        additionalProperty=values,
        subjectOf=described,
        hasPart=contents.file(folder / MANIFEST, "Counts, arrays, sources; a hash of every file."),
    )


def _action(
    contents: Contents, task: TaskView, jobs: Sequence[Account], instrument: Entity
) -> None:
    """Describe a finished or failed task: its inputs, products, times and node-hours."""
    began = [job.start for job in jobs if job.start is not None]
    ended = [job.end for job in jobs if job.end is not None]
    results = _results(contents, task)
    there = task.folder.result.is_file()  # a purge takes single files
    last = max(ended, default=task.folder.result.stat().st_mtime if there else None)
    facts = {
        "name": task.key,
        "description": ACTIONS[task.stage],
        "instrument": instrument,
        "startTime": iso(min(began)) if began else None,
        "endTime": iso(last) if last is not None else None,
        "actionStatus": f"http://schema.org/{STATUS[task.state]}",
        "error": _error(task),
        "object": _objects(contents, task),
        "result": results,
        "resourceUsage": _node_hours(contents, task.key, jobs),
    }
    facts = {key: value for key, value in facts.items() if value}
    action = contents.about(f"#{task.key}", "CreateAction", **facts)
    contents.crate.root_dataset.append_to("mentions", action)


def _error(task: TaskView) -> str | None:
    """Return why a task failed, None if it did not."""
    if task.state != "failed" or task.ending is None:
        return None
    return task.message or task.ending.outcome


def _objects(contents: Contents, task: TaskView) -> list[Entity]:
    """Return the inputs of a task: its declaration, sources, stores and weights."""
    declared = task.declaration
    given = contents.file(task.folder.declaration, f"{task.key}: its resolved declaration.")
    if task.stage == "stage":
        bins = Path(declared["bins_store"]) if declared["bins_store"] != declared["store"] else None
        given += contents.folder(bins, "A store.") if bins is not None else []
        return given + _sources(contents, task)
    for name in ("jets", "source", *(() if task.stage in STORING else ("store",))):
        if name in declared:
            given += contents.folder(Path(declared[name]), "A store.")
    trunk = (declared.get("trunk") or {}).get("folder")
    folders = [declared.get(name) for name in ("backbone", "finetuned", "pretrained", "trained")]
    for folder in filter(None, [*folders, trunk]):
        given += contents.file(Path(folder) / model_folder.names(Path(folder)).weights, TRAINED)
    return given


def _sources(contents: Contents, task: TaskView) -> list[Entity]:
    """Return the files that were staged: the simulation's folder, or all of them as one thing."""
    simulation = task.declaration["dataset"].get("simulation")
    if simulation:
        made = contents.run.task(f"simulate/{simulation}").path / "files"
        return contents.folder(made, "Simulated files.")
    files = sum(map(len, task.declaration["sources"].values()))
    name = f"{files} source files of {task.name}"
    where = f"Each with its SHA-256 in data/{task.name}.croissant.json."
    return [contents.about(f"#sources/{task.name}", "CreativeWork", name=name, description=where)]


def _results(contents: Contents, task: TaskView) -> list[Entity]:
    """Return the products of a task if it is done, and its result in any case."""
    folder, declared = task.folder, task.declaration
    made: list[Entity] = []
    if task.state == "done" and task.stage == "simulate":
        made += contents.folder(Path(declared["output"]), "Simulated files.")
    if task.state == "done" and task.stage in STORING:
        made += contents.folder(Path(declared["store"]), "A store.")
    tensors = task.result.weights_sha256 if isinstance(task.result, Weights) else ""
    hashed = f" SHA-256 of its names and values: {tensors}." if tensors else ""
    made += contents.file(folder.path / WEIGHTS, TRAINED + hashed)
    made += contents.file(folder.metrics, f"{task.key}: a line for each step.")
    made += contents.file(folder.events, f"{task.key}: events to look at.")
    made += _predictions(contents, task)
    return made + contents.file(folder.result, f"{task.key}: how it ended, with its numbers.")


def _predictions(contents: Contents, task: TaskView) -> list[Entity]:
    """Return what an evaluation predicted of every event, by the hash that its result has."""
    known = task.result.predictions if isinstance(task.result, Evaluated) else None
    if known is None:
        return []
    words = f"{task.key}: what was predicted of every event, with its truth, file and entry."
    return contents.file(task.folder.path / known.file, words, sha256=known.sha256)


def _node_hours(contents: Contents, key: str, jobs: Sequence[Account]) -> list[Entity]:
    """Return the node-hours charged to a task at each site; never a sum over sites."""
    charged: dict[str, float] = {}
    for job in jobs:
        charged[job.site] = charged.get(job.site, 0.0) + job.charged_node_hours
    return [
        contents.about(
            f"#{key}/node-hours/{site}",
            "PropertyValue",
            name=f"node-hours charged at {site}",
            value=round(hours, 6),
            unitText="node-hours",
        )
        for site, hours in charged.items()
    ]


def iso(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as ISO 8601 to the second, in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
