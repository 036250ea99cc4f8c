"""Two splits of a campaign's stores compared: by content where both are staged, else by paths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.campaign import FeaturesTask, StageTask, Task, TokenizeTask
from pipeline.data.experiments import experiment_of
from pipeline.data.identity import OF_FILE
from pipeline.data.overlap import EventSet, disjoint, event_set, interval, overlap
from pipeline.data.store.manifest import MANIFEST, Manifest, read_manifest
from pipeline.data.store.opened import Store
from pipeline.data.training_data import gathered
from pipeline.masking import masked

Split = tuple[Path, str]  # a store, and the name of a split there


@dataclass(frozen=True)
class Listed:
    """The files of a split that is not staged yet: `paths` without links, and how they are dealt.

    `numbering` is by what an event has its id.
    """

    name: str
    split: str
    paths: Mapping[str, str]
    fractions: Mapping[str, float]
    numbering: tuple[str, str]

    def shares(self, tested: "Listed") -> float:
        """Return the share of the events of common files in `tested` that are in this split too."""
        same = self.numbering == tested.numbering
        if same and disjoint(self.fractions, self.split, tested.fractions, tested.split):
            return 0.0
        low, high = interval(self.fractions, self.split) if self.fractions else (0.0, 1.0)
        if not same or not tested.fractions or not self.fractions:
            return high - low
        start, stop = interval(tested.fractions, tested.split)
        return (min(high, stop) - max(low, start)) / (stop - start)


@dataclass(frozen=True)
class Stores:
    """The stores of a campaign, staged or not, with the tasks that stage what they are made of."""

    tasks: Sequence[Task]

    def compared(self, trained: Split | Path, tested: Split, who: str) -> Iterator[str]:
        """Yield a sentence for the events of `tested` that are `trained` on too, if any are.

        A path is a folder of weights, whose record says what they saw.
        """
        if isinstance(trained, Path):
            for each in gathered(trained).events:
                known = each.model_copy(update={"task": f"{each.task} ({trained})"})
                yield from self._with_record(known, tested)
            return
        manifest = self.manifest(trained[0])
        if manifest is not None and self.manifest(tested[0]) is not None:
            yield from self._with_record(event_set(manifest, *trained, who), tested)
            return
        one, other = self._stage(trained[0]), self._stage(tested[0])
        if one is other is not None:
            if trained[1] == tested[1]:
                yield _all(tested, trained, who)
        elif one is not None and other is not None:
            yield from _by_paths(listed(one, trained[1]), listed(other, tested[1]), who)

    def _with_record(self, trained: EventSet, tested: Split) -> Iterator[str]:
        """Compare what is on record with a split, by content if that is staged."""
        manifest, stage = self.manifest(tested[0]), self._stage(tested[0])
        if manifest is not None:
            found = overlap(trained, Store(tested[0], manifest), tested[1])
            if found is not None:
                yield found.sentence
        elif stage is not None:
            yield from _by_paths(recorded(trained), listed(stage, tested[1]), trained.task)

    def manifest(self, store: Path) -> Manifest | None:
        """Return the manifest of a store, None before it exists.

        Raises:
            BadInput: It is damaged, or of an older version.
        """
        try:
            return _manifest(store, (store / MANIFEST).stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def _stage(self, store: Path) -> StageTask | None:
        """Return the task that stages the events of a store, itself or as tokens or features."""
        for task in self.tasks:
            if isinstance(task, StageTask) and task.store == store:
                return task
            if isinstance(task, TokenizeTask) and task.store == store:
                return self._stage(task.jets)
            if isinstance(task, FeaturesTask) and task.store == store:
                return self._stage(task.source)
        return None


@lru_cache(maxsize=16)
def _manifest(store: Path, time_ns: int) -> Manifest:  # noqa: ARG001  # it tells a changed file
    return read_manifest(store)


def listed(task: StageTask, split: str) -> Listed:
    """Return the files that `task` will stage for `split`, those that can be distinguished.

    A file on another machine has a made-up name, and is left out.
    """
    kind = experiment_of(task.dataset)
    key = task.dataset.event_key or kind.event_key
    splits = task.sources.values() if task.dataset.fractions else [task.sources.get(split, ())]
    names = [name for files in splits for name in files]
    known = [
        each for each in names if task.dataset.simulation or "://" in each or Path(each).exists()
    ]
    return Listed(
        name=task.store.stem,
        split=split,
        paths={_itself(each): masked(each) for each in known},
        fractions=task.dataset.fractions,
        numbering=(OF_FILE, "") if key == OF_FILE else (key, kind.name),
    )


def _is_distinct(name: str) -> bool:
    return "://" in name or Path(name).exists()


def recorded(trained: EventSet) -> Listed:
    """Return the files on record of a training."""
    return Listed(
        name=trained.store.stem,
        split=trained.split,
        paths={_itself(each.path): each.path for each in trained.files},
        fractions=trained.fractions,
        numbering=trained.numbering,
    )


def _itself(name: str) -> str:
    return masked(name) if "://" in name else str(Path(name).resolve())


def _by_paths(trained: Listed, tested: Listed, who: str) -> Iterator[str]:
    """Yield a sentence if both splits have files in common, and events of them."""
    common = [name for path, name in tested.paths.items() if path in trained.paths]
    share = trained.shares(tested)
    if common and share:
        amount = "all" if share == 1 else f"about {100 * share:.2g} % of the"
        first = (
            f"in {common[0]}"
            if len(common) == 1
            else (f"in {len(common)} files, the first is {common[0]}")
        )
        yield (
            f"{amount} events of {tested.name}, split {tested.split!r}, {first}, are among those "
            f"that {who} is trained on ({trained.name}, split {trained.split!r})"
        )


def _all(tested: Split, trained: Split, who: str) -> str:
    return (
        f"all events of {tested[0].stem}, split {tested[1]!r}, are those that {who} is trained on "
        f"({trained[0].stem}, split {trained[1]!r})"
    )
