"""Random datasets of shared files: no test event is in any training set that is accepted.

Files are shared, put in another order, renamed, copied, linked, added and doubled, and dealt by
other fractions or by the file. What is compared with is the content of the events themselves.
COSMOTRON_SOAK_DATASETS=200 makes more of them.
"""

import itertools
import os
import shutil

import numpy as np
import pytest
from made_events import events, stage_task

from pipeline.campaign.sources import check_each_once
from pipeline.catalog import DeclarationError
from pipeline.data.overlap import event_set, overlap
from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.stage import STAGE
from pipeline.data.store import Store, opened
from pipeline.outcome import Exit

DATASETS = int(os.environ.get("COSMOTRON_SOAK_DATASETS", "60"))
CONTENTS = 24
EVENTS = 20
DEALT = (
    {"train": 0.8, "validation": 0.1, "test": 0.1},
    {"train": 0.5, "test": 0.5},
    {"test": 0.3, "train": 0.7},
    {"train": 0.05, "test": 0.95},
)
PLAIN = {"order": "file", "neighbours": 0, "chunk_points": 64}


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Files of different contents; two have an event in common with none."""
    folder = tmp_path_factory.mktemp("contents")
    paths = [folder / f"spacepoints_{number}.npz" for number in range(CONTENTS)]
    for number, path in enumerate(paths):
        write_npz(path, events([2 + n % 3 for n in range(EVENTS)], seed=number), labelled=False)
    return paths


def placed(rng, path, folder, name):
    """Put the file `path` into `folder` as `name` in some way; return its path there."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}{path.suffix}"
    way = rng.choice(["as it is", "copy", "hard link", "link", "relative link", "linked folder"])
    if way == "as it is":
        return path
    if way == "copy":
        shutil.copy(path, target)
    elif way == "hard link":
        os.link(path, target)
    elif way == "link":
        target.symlink_to(path)
    elif way == "relative link":
        target.symlink_to(os.path.relpath(path, folder))
    else:
        linked = folder / f"of-{name}"
        linked.symlink_to(path.parent)
        return linked / path.name
    return target


def drawn(rng, contents, folder):
    """Return the sources of a random dataset by split, its fractions, and the doubled content."""
    number = int(rng.integers(2, 7))
    chosen = [contents[n] for n in rng.permutation(len(contents))[:number]]
    doubled = chosen[0] if rng.random() < 0.1 else None
    if doubled is not None:
        chosen.append(doubled)
    names = rng.permutation([f"batch_{n}" for n in range(number + 1)])
    paths = [
        placed(rng, path, folder / str(rng.integers(3)), f"{name}-{n}")
        for n, (path, name) in enumerate(zip(chosen, names, strict=False))
    ]
    order = rng.permutation(len(paths))
    listed = [paths[n] for n in order]
    if rng.random() < 0.3:
        cut = int(rng.integers(1, len(listed)))
        return {"train": listed[:cut], "test": listed[cut:]}, {}, doubled
    return {"all": listed}, DEALT[rng.integers(len(DEALT))], doubled


def staged(path, number, sources, fractions):
    """Stage one dataset; return its store, None if it is refused for a file that comes twice."""
    try:
        check_each_once("datasets.x", {s: list(map(str, each)) for s, each in sources.items()})
    except DeclarationError:
        return None
    changes = {**PLAIN, "events_per_shard": 8, "fractions": fractions}
    folder, task = stage_task(path, sources, name=f"d{number}", **changes)
    steps = ["--begin", *(f"--part {n}" for n in range(len(task.files))), "--finish"]
    for step in steps:
        code = run(STAGE, [str(folder.path), *step.split()])
        if code == Exit.BAD_INPUT:
            return None
        assert code == 0
    return Store.open(task.store)


def content(store, split):
    """Return the first point of each event of a split, which tells events by their content."""
    firsts = []
    for shard in store.shards(split):
        arrays = shard.read(("points", "offsets"))
        firsts += map(tuple, arrays["points"][arrays["offsets"][:-1]].tolist())
    assert len(set(firsts)) == len(firsts)
    return frozenset(firsts)


@pytest.fixture
def in_memory(monkeypatch):
    """Read each array of a shard once: the comparisons read them many times."""
    read, known = opened.Shard.read, {}

    def remembered(shard, names=None, **words):
        key = (shard.path, names)
        if key not in known:
            known[key] = read(shard, names, **words)
        return known[key]

    monkeypatch.setattr(opened.Shard, "read", remembered)


@pytest.mark.slow
def test_no_test_event_is_in_a_training_set_that_is_accepted(tmp_path, contents, capsys, in_memory):
    rng = np.random.default_rng(2026)
    stores, refused = [], 0
    for number in range(DATASETS):
        sources, fractions, doubled = drawn(rng, contents, tmp_path / f"files-{number}")
        found = staged(tmp_path, number, sources, fractions)
        assert (found is None) == (doubled is not None), number
        refused += found is None
        stores += [] if found is None else [found]
    capsys.readouterr()
    assert 0.03 * DATASETS < refused < 0.25 * DATASETS
    known = [{split: content(store, split) for split in store.splits} for store in stores]
    shared, accepted = 0, 0
    for (one, mine), (other, theirs) in itertools.product(
        zip(stores, known, strict=True), repeat=2
    ):
        found = overlap(event_set(one.manifest, one.path, "train", "pretrain"), other, "test")
        truly = len(mine["train"] & theirs["test"])
        assert (0 if found is None else found.events) == truly, (one.path, other.path)
        shared += found is not None
        accepted += found is None
    print(f"{DATASETS} datasets, {refused} refused; of pairs {shared} refused, {accepted} accepted")
    assert min(shared, accepted) > 0.2 * len(stores) ** 2
