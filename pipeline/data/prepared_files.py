"""Events of source files prepared as for a store, straight from the files: nothing is staged.

Axes: E events.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.campaign.model_folder import SourceFiles
from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.events import Events, Integers
from pipeline.data.experiments import experiment
from pipeline.data.identity import OF_FILE, Identity
from pipeline.data.part import prepared_range
from pipeline.data.preparation.bins import read_bins
from pipeline.data.preparation.serialise import Preparation, is_voxel_order
from pipeline.data.readers import opened
from pipeline.data.source import fetched, file_of
from pipeline.families import Reads


@dataclass(frozen=True)
class FileEvents:
    """Some prepared events of one file, (E), with their ids as a store would have them.

    `entry` (E) is their place in the file. `read` entries of `count` are behind them, so that one
    that was rejected is counted too.
    """

    events: Events
    entry: Integers
    read: int
    count: int


@dataclass(frozen=True)
class PreparedFiles:
    """Source files read as `files` says; `rejected` grows by the events left out, by reason.

    `folder` is for what is fetched from an address, and for the bins that `files` names.
    """

    files: SourceFiles
    folder: Path
    rejected: Counter[str]

    def preparation(self) -> Preparation:
        """Return how events are prepared.

        Raises:
            BadInput: The experiment is unknown, or the bins are not there.
        """
        files = self.files
        bins = read_bins(self.folder / files.bins) if is_voxel_order(files.order) else None
        kind = experiment(files.experiment).choosing(files.reader)
        return Preparation(
            kind,
            files.order,
            neighbours=files.neighbours,
            min_points=files.min_points,
            max_points=files.max_points,
            bins=bins,
        )

    def stream(self, name: str, events: int) -> Iterator[FileEvents]:
        """Yield the events of the file `name`, a path or an address, from `events` entries each.

        Raises:
            BadInput: It cannot be read as a file of the experiment.
        """
        settings = self.preparation()
        kind = settings.experiment
        key = self.files.event_key or kind.event_key
        with (
            fetched(name, kind.companions(file_of(name)), self.folder / "fetched") as path,
            opened(path, kind) as entries,
        ):
            identity = Identity(key, kind.name, sha256(path) if key == OF_FILE else "")
            for start in range(0, entries.count, events):
                stop = min(start + events, entries.count)
                prepared, rejected = prepared_range(settings, entries, start, stop)
                self.rejected.update(rejected)
                found = prepared.events
                if not len(found):
                    continue
                per_point = found.per_point
                if self.files.neighbours:
                    per_point = {**per_point, "neighbours": prepared.neighbours}
                named = replace(
                    found, event_id=identity.ids(found), per_point=per_point, verified=True
                )
                yield FileEvents(named, found.event_id, stop, entries.count)


def check_files(names: list[str]) -> None:
    """Check that no file comes twice.

    Raises:
        BadInput: One does; its events would be predicted twice.
    """
    twice = [name for name, count in Counter(map(_absolute, names)).items() if count > 1]
    if twice:
        message = (
            f"{twice[0]}: given twice, so that its events would come twice. Give each file once."
        )
        raise BadInput(message)


def _absolute(name: str) -> str:
    """Return a path from the root on, an address as it is."""
    return name if "://" in name else str(Path(name).resolve())


def check_reads(events: Events, reads: Reads) -> Events:
    """Return `events`, which have what the model reads of them.

    Raises:
        BadInput: An array is missing, or an event has fewer or more points than the model takes.
    """
    wanted = (*reads.per_point, *reads.per_event)
    missing = [name for name in wanted if name not in (*events.per_point, *events.per_event)]
    if missing:
        has = ", ".join((*events.per_point, *events.per_event)) or "none"
        message = (
            f"{events.source}: no {', '.join(missing)}, which this model reads; it has {has}. Give "
            "files like those that it was trained on."
        )
        raise BadInput(message)
    low, high = reads.least_points, reads.most_points
    wrong = (events.sizes < low) | (events.sizes > (high or events.sizes.max(initial=0)))
    if wrong.any():
        first = int(wrong.argmax())
        message = (
            f"{events.source}: event {events.event_id[first]} has {events.sizes[first]} points; "
            f"this model takes {low} to {high or 'any number'}. Leave such events out of the file."
        )
        raise BadInput(message)
    return events
