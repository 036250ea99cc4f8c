"""A run: its scores, its predictions and its node-hours, as tables."""

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cosmotron.stores import Store
from pipeline.catalog import DeclarationError
from pipeline.outcome import RunError
from pipeline.run import Run as Folder

if TYPE_CHECKING:
    import awkward
    import pandas


class Run:
    """A run folder, finished or not; it is read anew at each call."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.folder = Folder(self.path.absolute().parent, self.path.absolute().name)
        if not self.folder.declaration.is_file():
            message = f"{self.path}: no run: campaign.toml is not there. Give a run folder."
            raise DeclarationError(message)

    def __repr__(self) -> str:
        return f"Run({self.path})"

    def results(self) -> "pandas.DataFrame":
        """Return a row for each finished evaluation: what was evaluated, and its scores.

        The 68 % interval of a score is beside it, in `<score>_low` and `<score>_high`. What could
        not be read is named in `attrs["problems"]`.

        >>> table = run.results()
        >>> table[["model", "mode", "labels", "seed"]].sort_values("mode").values.tolist()
        [['m', 'frozen', 8, 1], ['m', 'full', 8, 1], ['m', 'scratch', 8, 1]]
        >>> bool((table.ari_low <= table.ari_high).all())
        True
        """
        import pandas

        from pipeline.report.rows import rows

        found, problems = rows(self.folder)
        table = pandas.DataFrame(found)
        counts = table.columns.intersection(["pretraining_events", "labels", "seed"])
        table = table.astype(dict.fromkeys(counts, "Int64"))  # which may be missing
        table.attrs["problems"] = problems
        return table

    def predictions(self, task: str, columns: Sequence[str] | None = None) -> "awkward.Array":
        """Return what the evaluation `task` predicted of every event, or `columns` of that.

        >>> found = run.predictions("evaluate/tracking-m-d24-s1-full-l8-s1")
        >>> found.fields
        ['event_id', 'file', 'entry', 'track', 'confidence', 'truth_track', 'truth_pt_gev']
        >>> len(found), len(found.track[0]) == len(found.truth_track[0])
        (8, True)

        Raises:
            RunError: It has none: it is not done, or an earlier version evaluated.
        """
        from pipeline.data import predictions

        folder = self.folder.task(task if "/" in task else f"evaluate/{task}")
        if not folder.predictions.is_file():
            there = sorted(self.folder.path.glob(f"evaluate/*/{folder.predictions.name}"))
            message = (
                f"{folder.predictions}: not there. An evaluation has it when it is done, unless an "
                "earlier version made it: remove its DONE and run again. Those that have it: "
                f"{', '.join(each.parent.name for each in there) or 'none'}."
            )
            raise RunError(message)
        return predictions.read(folder.predictions, columns)

    def ledger(self) -> "pandas.DataFrame":
        """Return a row for each job: its task, site and state, node-hours reserved and charged.

        >>> table = run.ledger()
        >>> bool(table.charged_node_hours.sum() > 0), sorted(table)[:2]
        (True, ['batch_key', 'charged_node_hours'])

        Raises:
            LedgerError: The ledger is damaged.
        """
        import pandas

        from pipeline.budget.ledger import Ledger

        table = pandas.DataFrame(map(asdict, Ledger(self.folder.ledger).accounts().values()))
        for name in {"start", "end", "since"} & {*table.columns}:
            table[name] = pandas.to_datetime(table[name], unit="s", utc=True)
        return table

    def store(self, dataset: str) -> Store:
        """Return the store of `dataset`.

        >>> run.store("labelled")
        Store(runs/tiny/data/labelled.zarr: train 8, test 8 events)
        """
        return Store(self.path / "data" / f"{dataset}.zarr")
