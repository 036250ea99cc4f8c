"""Stage source files into one sharded store: `python -m pipeline.data.stage TASK_FOLDER`.

`--begin` makes the voxel bins and tables, `--part N` stages source file N, one staging part after
another, and `--finish` writes the manifest.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline import claims, records
from pipeline.campaign import StageTask
from pipeline.campaign.contents import store_sha256
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Experiment
from pipeline.data.experiments import experiment_of
from pipeline.data.identity import Identity
from pipeline.data.known_hashes import check_known, read_known
from pipeline.data.part import Layout, Place, make_part, ranges
from pipeline.data.preparation.bins import Bins, fit_bins, read_bins
from pipeline.data.preparation.bins_file import published_bins
from pipeline.data.preparation.serialise import Preparation, is_voxel_order, normal, usable
from pipeline.data.program import Program, part_record, part_records, run
from pipeline.data.readers import opened
from pipeline.data.source import fetched, file_of, is_remote, size_of
from pipeline.data.space import check, needed
from pipeline.data.splits import are_in
from pipeline.data.staged import (
    StagedFile,
    StagedPart,
    check_contents,
    check_ids,
    claim_content,
    seen,
    sources_of_file,
    verified,
    with_keys,
)
from pipeline.data.store.manifest import (
    BINS,
    Manifest,
    ShardRecord,
    SourceRecord,
    write_manifest,
)
from pipeline.data.store.tables import TABLES, check_tables, write_tables
from pipeline.masking import masked
from pipeline.records import Staged
from pipeline.run import TaskFolder
from pipeline.writing import write_json

BINS_SPLIT = "train"
SAMPLE_EVENTS = 2000
BEGUN = "begun.json"
# Of how points are prepared: one more whenever the same settings make other shards.
PREPARATION_VERSION = 3


def begin(folder: TaskFolder, task: StageTask) -> None:
    """Put the voxel bins and tables into the store, and check that the disk has room for it.

    Bins are fitted once, on the first training file, or taken from a file or another store.

    Raises:
        BadInput: There is no training split, or no bins in the store they are to come from; or the
            first file is another than the dataset's list of hashes says.
        NoRoomError: The store will not fit.
    """
    kind = experiment_of(task.dataset)
    order = task.dataset.order or kind.order
    split, name = next((each for each in task.files if each[0] in ("", BINS_SPLIT)), task.files[0])
    for leftover in task.store.glob(".*.tmp"):  # of a process that was killed
        leftover.unlink(missing_ok=True)
    with fetched(name, kind.companions(file_of(name)), folder.path / "fetch-begin") as path:
        if task.dataset.sha256:
            known = Path(task.dataset.sha256)
            check_known(read_known(known), known, name, sha256(path))
        if is_voxel_order(order) and not (task.store / BINS).exists():
            _bins(task, kind, name, path, split).write(task.store / BINS)
        with opened(path, kind) as entries:
            if entries.tables:
                write_tables(task.store, entries.tables)
            need = needed(task, layout_of(task), entries, name)
    room = check(need, task.store)
    write_json(folder.parts / BEGUN, {"room": room})


def _bins(task: StageTask, kind: Experiment, name: str, path: Path, split: str) -> Bins:
    """Return the bins of a file or another store, or bins fitted on the first events of `path`."""
    if task.dataset.bins_file:
        return published_bins(Path(task.dataset.bins_file))
    if task.bins_store != task.store:
        return read_bins(task.bins_store / BINS)
    content = sha256(path)
    splits = task.dataset.fractions or task.sources
    if BINS_SPLIT not in splits or split not in ("", BINS_SPLIT):
        message = (
            f"{task.key}: no split {BINS_SPLIT!r} to fit voxel bins on, only "
            f"{', '.join(splits)}. Name one split so, or take bins_from another dataset."
        )
        raise BadInput(message)
    settings = Preparation(kind, "none", max_points=task.dataset.max_points or kind.max_points)
    with opened(path, kind) as entries:
        events, _ = usable(entries.read(0, min(entries.count, SAMPLE_EVENTS))[0], settings)
    if task.dataset.fractions:
        ids = Identity(event_key(task, kind), kind.name, content).ids(events)
        events = events.select(are_in(BINS_SPLIT, ids, task.dataset.fractions))
    if not len(events):
        message = (
            f"{name}: none of its first {SAMPLE_EVENTS} events is usable and of split "
            f"{BINS_SPLIT!r}, so voxel bins cannot be fitted. List a larger file first."
        )
        raise BadInput(message)
    third = {each.name: each for each in kind.columns}[(kind.axes or ("",) * 3)[2]]
    return fit_bins(
        normal(kind.transform(events), kind),
        task.dataset.bins,
        limits=tuple((each - third.offset) / third.scale for each in kind.group_limits),
        source=masked(name),
        source_sha256=content,
    )


def layout_of(task: StageTask) -> Layout:
    """Return where and how the shards of `task` are stored.

    Raises:
        BadInput: The experiment is unknown, or its voxel bins are not there.
    """
    dataset, kind = task.dataset, experiment_of(task.dataset)
    order = dataset.order or kind.order
    preparation = Preparation(
        kind,
        order,
        neighbours=dataset.neighbours,
        min_points=dataset.min_points,
        max_points=dataset.max_points or kind.max_points,
        bins=read_bins(task.store / BINS) if is_voxel_order(order) else None,
    )
    return Layout(
        store=task.store,
        preparation=preparation,
        fractions=dataset.fractions,
        events_per_shard=dataset.events_per_shard or kind.shard_events,
        chunk_points=dataset.chunk_points,
        codec=dataset.codec,
    )


def stage_part(folder: TaskFolder, task: StageTask, number: int) -> None:
    """Stage source file `number` of `task` into its shards, and write their record."""
    started = time.perf_counter()
    layout = layout_of(task)
    split, name = task.files[number]
    claims.confirm()
    for leftover in task.store.glob(f"*/.{number:05d}-*.tmp"):
        shutil.rmtree(leftover)
    kind = layout.preparation.experiment
    seen_before = seen(name, kind)
    target = folder.path / f"fetch-{number:05d}"
    with (
        fetched(name, kind.companions(file_of(name)), target) as path,
        opened(path, kind) as entries,
    ):
        check_tables(task.store, entries.tables, name)
        sources = sources_of_file(
            kind, name, path, split=split, entries=entries.count, notes=folder.parts
        )
        sources = verified(sources, entries.checksum, task.dataset.sha256)
        claim_content(folder.parts, task, number, sources[0].sha256)
        identity = Identity(event_key(task, kind), kind.name, sources[0].sha256)
        parts: list[StagedPart] = []
        for part, (start, stop) in enumerate(ranges(entries.count, layout.events_per_shard)):
            note = folder.parts / f"{number:05d}-{part:03d}.json"
            made_from = _fingerprint(task, layout, sources, (number, part, start, stop))
            record = _kept(task.store, note, made_from)
            if record is None:
                place = Place(split, number, part, start, stop)
                record = StagedPart(
                    made_from=made_from, **make_part(layout, entries, identity, place)._asdict()
                )
                claims.confirm()
                records.write(note, record)
            parts.append(record)
    shards = tuple(shard for each in parts for shard in each.shards)
    _remove_others(task.store, number, shards)
    rejected = sum((Counter(each.rejected) for each in parts), Counter[str]())
    whole = StagedFile(
        version=PREPARATION_VERSION,
        shards=shards,
        sources=with_keys(sources, [each.keys for each in parts]),
        rejected=dict(rejected),
        seen=seen_before,
        seconds=round(time.perf_counter() - started, 3),
    )
    claims.confirm()
    records.write(part_record(folder, number), whole)


def event_key(task: StageTask, kind: Experiment) -> str:
    """Return the array that names the events of `task`, "file" for their place in the file."""
    return task.dataset.event_key or kind.event_key


def _remove_others(store: Path, number: int, shards: Sequence[ShardRecord]) -> None:
    """Remove the shards of an earlier version of source file `number`, all but `shards`."""
    claims.confirm()
    mine = {store / each.split / each.name for each in shards}
    for folder in {*store.glob(f"*/{number:05d}-*")} - mine:
        shutil.rmtree(folder)


def _remove_unknown(store: Path, manifest: Manifest) -> None:
    """Remove shards that are not of `manifest`: of sources that were taken out before the end."""
    known = {store / each.split / each.name for each in manifest.shards}
    unknown = {*store.glob("*/[0-9]*-*")} - known
    for folder in unknown:
        shutil.rmtree(folder)
    for split in {folder.parent for folder in unknown}:
        if not any(split.iterdir()):
            split.rmdir()


def _fingerprint(
    task: StageTask, layout: Layout, sources: list[SourceRecord], position: tuple[int, ...]
) -> str:
    """Return the hash of everything that decides the content of a staging part."""
    bins = layout.preparation.bins
    parts = [
        PREPARATION_VERSION,
        task.dataset.model_dump(mode="json", exclude={"sha256"}),
        asdict(bins) if bins is not None else None,
        [each.sha256 for each in sources],
        position,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _kept(store: Path, path: Path, made_from: str) -> StagedPart | None:
    """Return the record of a staging part if its fingerprint agrees and its shards verify."""
    record = records.read(path, StagedPart)
    if record is None or record.made_from != made_from:
        return None
    return record if _are_whole(store, record.shards) else None


def _are_whole(store: Path, shards: Sequence[ShardRecord]) -> bool:
    """Return whether the shards exist and are unchanged."""
    return all(unchanged(store / shard.split / shard.name, shard.files) for shard in shards)


def is_staged(folder: TaskFolder, task: StageTask, number: int) -> bool:
    """Return whether the shards of source file `number` are complete and it looks unchanged."""
    record = records.read(part_record(folder, number), StagedFile)
    if record is None or record.version != PREPARATION_VERSION:
        return False
    if not _are_whole(task.store, record.shards):
        return False
    now = seen(task.files[number][1], experiment_of(task.dataset))
    return not now or record.seen == now


def finish(folder: TaskFolder, task: StageTask) -> None:
    """Verify every shard of `task`, write the manifest and mark the task done.

    Raises:
        BadInput: A part is not done or damaged, a file comes twice, or a split is empty or has
            labels for some files.
    """
    made = part_records(folder, StagedFile, len(task.files))
    for number, (_, source) in enumerate(task.files):
        if not is_staged(folder, task, number):
            message = f"{task.store}: the shards of {source} are damaged, or it has changed since. "
            message += f"Run --part {number}."
            raise BadInput(message)
    manifest = _manifest(task, made)
    claims.confirm()
    _remove_unknown(task.store, manifest)
    write_manifest(task.store, manifest)
    folder.finish(
        Staged(
            events=manifest.events,
            points=manifest.points,
            rejected=manifest.rejected,
            shards=len(manifest.shards),
            manifest_sha256=store_sha256(task.store),
            seconds=sum(each.seconds or 0 for each in made),
        )
    )


def _manifest(task: StageTask, made: list[StagedFile]) -> Manifest:
    """Return the manifest of the store that the parts of `made` hold."""
    layout = layout_of(task)
    settings = layout.preparation
    shards = [shard for each in made for shard in each.shards]
    rejected: Counter[str] = sum((Counter(each.rejected) for each in made), Counter())
    splits = tuple(task.dataset.fractions or task.sources)
    key = event_key(task, settings.experiment)
    check_contents(task.store, made)
    check_ids(task.store, key, made)
    _check_splits(task, splits, shards, rejected)
    constants = (name for name in (BINS, TABLES) if (task.store / name).exists())
    return Manifest(
        experiment=settings.experiment.name,
        columns=settings.experiment.columns,
        order=settings.order,
        neighbours=settings.neighbours,
        min_points=settings.min_points,
        max_points=settings.max_points,
        fractions=dict(layout.fractions),
        event_key=key,
        numbered_by=settings.experiment.name,
        files={name: sha256(task.store / name) for name in constants},
        sources=tuple(source for each in made for source in each.sources),
        rejected=dict(rejected),
        events=_totals(shards, splits, "events"),
        points=_totals(shards, splits, "points"),
        shards=tuple(shards),
    )


def _totals(shards: list[ShardRecord], splits: tuple[str, ...], what: str) -> dict[str, int]:
    """Return the number of events or points in the shards of each split."""
    totals = dict.fromkeys(splits, 0)
    for shard in shards:
        totals[shard.split] += getattr(shard, what)
    return totals


def _check_splits(
    task: StageTask, splits: tuple[str, ...], shards: list[ShardRecord], rejected: Counter[str]
) -> None:
    """Check that each split has shards, all with the same arrays.

    Raises:
        BadInput: A split has no usable event, or some of its source files lack labels.
    """
    for split in splits:
        kinds = {tuple(shard.arrays.items()) for shard in shards if shard.split == split}
        if not kinds:
            message = (
                f"{task.store}: no usable event in split {split!r}; rejected: "
                f"{', '.join(f'{count} {name}' for name, count in rejected.items()) or 'none'}. "
                "Change min_points or max_points, or give other files."
            )
            raise BadInput(message)
        if len(kinds) > 1:
            common = set.intersection(*map(set, kinds))
            odd = sorted({name for name, _ in set.union(*map(set, kinds)) - common})
            message = (
                f"{task.store}: some files of split {split!r} lack {', '.join(odd)}, or have it in "
                "another type. Put the files that differ into another split."
            )
            raise BadInput(message)


def weight(task: StageTask, number: int) -> int:
    """Return the weight of source file `number` for balancing: its bytes, 1 if it is remote."""
    name = task.files[number][1]
    return 1 if is_remote(name) else size_of(name)


STAGE = Program(
    "stage",
    StageTask,
    part=stage_part,
    is_done=is_staged,
    finish=finish,
    begin=begin,
    weight=weight,
)

if __name__ == "__main__":
    raise SystemExit(run(STAGE))
