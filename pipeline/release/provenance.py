"""The provenance of a run for other tools: its RO-Crate, and a Croissant file per store."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.budget.account import Account
from pipeline.budget.ledger import Ledger, LedgerError
from pipeline.campaign import Campaign
from pipeline.data.errors import BadInput
from pipeline.data.store import MANIFEST, Manifest, Store
from pipeline.outcome import RunError
from pipeline.release.croissant import croissant
from pipeline.report.reader import Reader
from pipeline.report.tasks import view_tasks
from pipeline.run import Run
from pipeline.writing import write_text


@dataclass(frozen=True)
class Written:
    """The written files, and the problems with files of the run that could not be read."""

    crate: Path
    croissants: tuple[Path, ...]
    problems: tuple[str, ...]


def write_provenance(run: Run, campaign: Campaign) -> Written:
    """Describe the stores of `run`, then the folder as a whole, from what is there now.

    Raises:
        RunError: The library that describes is not installed, or there is nothing to describe.
        OSError: The run folder cannot be written.
    """
    try:
        from pipeline.release.crate import crate
    except ModuleNotFoundError as error:
        message = f"The crate needs {error.name}. Install it with: pip install 'cosmotron[report]'"
        raise RunError(message) from error
    reader = Reader()
    stores = _stores(run, reader)
    for name, manifest in stores.items():
        described = croissant(run, campaign, run.store(name), manifest)
        write_text(run.croissant(name), json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    accounts = _accounts(run, reader)
    tasks = view_tasks(run, campaign, reader, accounts)
    environment = reader.table(run.environment)
    write_text(run.crate, crate(run, campaign, stores, tasks, accounts, environment))
    croissants = tuple(run.croissant(name) for name in stores)
    return Written(run.crate, croissants, tuple(reader.problems))


def _stores(run: Run, reader: Reader) -> dict[str, Manifest]:
    """Return the manifests of the stores that exist; one without manifest is not made yet."""
    found = {}
    for path in sorted(run.path.glob(f"data/*.zarr/{MANIFEST}")):
        try:
            found[path.parent.stem] = Store.open(path.parent).manifest
        except BadInput as error:
            reader.problems.append(str(error))
    return found


def _accounts(run: Run, reader: Reader) -> list[Account]:
    """Return the accounts of all jobs, none where the ledger is damaged."""
    try:
        return list(Ledger(run.ledger).accounts().values())
    except LedgerError as error:
        reader.problems.append(str(error))
        return []
