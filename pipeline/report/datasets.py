"""What the stores of a run hold, as their manifests say it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.campaign import Campaign
from pipeline.report.reader import Reader
from pipeline.run import Run


@dataclass(frozen=True)
class Split:
    """The size of one split of a store; `tracks` is None where they are not known."""

    name: str
    events: int
    points: int
    tracks: int | None = None

    @property
    def points_per_event(self) -> float | None:
        """The mean number of points of an event."""
        return self.points / self.events if self.events else None

    @property
    def tracks_per_event(self) -> float | None:
        """The mean number of true tracks of an event."""
        return self.tracks / self.events if self.events and self.tracks is not None else None


@dataclass(frozen=True)
class DatasetView:
    """One store: its splits, and the events left out by reason; empty before it exists.

    `verified` counts the source files by the checksum that each was held to.
    """

    name: str
    splits: Sequence[Split]
    rejected: Mapping[str, int]
    verified: Mapping[str, int]


def view_datasets(campaign: Campaign, runs: Sequence[Run], reader: Reader) -> list[DatasetView]:
    """Return what the store of each dataset holds: in the first of the runs that has it."""
    return [
        next((each for each in views if each.splits), views[0])
        for views in (
            [_view(name, campaign.store(run, name), reader) for run in runs]
            for name in campaign.datasets
        )
    ]


def _view(name: str, store: Path, reader: Reader) -> DatasetView:
    """Return what the store of the dataset `name` holds."""
    manifest = reader.table(store / "manifest.json")
    events, points = manifest.get("events", {}), manifest.get("points", {})
    splits = [
        Split(split, events[split], points.get(split, 0), _tracks(manifest, split))
        for split in events
    ]
    sources = [each.get("verified_by") or "nothing" for each in manifest.get("sources", ())]
    return DatasetView(name, splits, manifest.get("rejected", {}), Counter(sources))


def _tracks(manifest: Mapping[str, Any], split: str) -> int | None:
    """Return the true tracks of all events of a split, None where a shard does not say."""
    shards = [each for each in manifest.get("shards", ()) if each.get("split") == split]
    counts = [each.get("tracks") for each in shards]
    return sum(counts) if counts and None not in counts else None
