"""What the stores of a run hold, as their manifests say it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.campaign import Campaign
from pipeline.records import Simulated
from pipeline.report.reader import Reader
from pipeline.run import Run


@dataclass(frozen=True)
class Split:
    """The size of one split of a store."""

    name: str
    events: int
    points: int

    @property
    def points_per_event(self) -> float | None:
        """The mean number of points of an event."""
        return self.points / self.events if self.events else None


@dataclass(frozen=True)
class DatasetView:
    """One store: its splits, and the events left out by reason; empty before it exists.

    `verified` counts the source files by what would have told a wrong bit in them.
    `tracks_per_event` is that of the simulation it was staged from, None for other sources.
    """

    name: str
    splits: Sequence[Split]
    rejected: Mapping[str, int]
    verified: Mapping[str, int]
    tracks_per_event: float | None


def view_datasets(campaign: Campaign, run: Run, reader: Reader) -> list[DatasetView]:
    """Return what the store of each dataset holds."""
    return [
        _view(name, dataset.simulation, run, reader) for name, dataset in campaign.datasets.items()
    ]


def _view(name: str, simulation: str, run: Run, reader: Reader) -> DatasetView:
    """Return what the store of the dataset `name` holds."""
    manifest = reader.table(run.store(name) / "manifest.json")
    events, points = manifest.get("events", {}), manifest.get("points", {})
    splits = [Split(split, events[split], points.get(split, 0)) for split in events]
    folder = run.task(f"simulate/{simulation}")
    made = reader.record(folder.result, Simulated) if simulation and folder.is_done else None
    tracks = made.means.get("tracks") if made is not None else None
    sources = [each.get("verified_by") or "nothing" for each in manifest.get("sources", ())]
    return DatasetView(name, splits, manifest.get("rejected", {}), Counter(sources), tracks)
