"""A node that loses power between two steps of a staging costs neither of them."""

from made_events import events, stage_task
from power_cut import disk

from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.stage import STAGE
from pipeline.data.store import Store

SIZES = [20, 30, 25, 40, 22]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def staged(place, sources, power=None):
    """Stage `sources` below `place`; the power goes after each step."""
    folder, task = stage_task(place, {"train": sources})
    for step in ("--begin", "--part 0", "--part 1", "--finish"):
        assert run(STAGE, [str(folder.path), *step.split()]) == 0
        if power is not None:
            power.cut()
            power.restart()
    assert folder.is_done
    assert Store.open(task.store).manifest.events == {"train": 2 * len(SIZES)}
    return contents(task.store)


def test_a_staging_goes_on_and_the_store_is_whole(tmp_path):
    sources = [tmp_path / "raw" / f"spacepoints_{number}.npz" for number in range(2)]
    for seed, path in enumerate(sources):
        write_npz(path, events(SIZES, seed=seed), labelled=True)
    with disk(tmp_path) as power:
        assert staged(power.folder / "run", sources, power) == staged(tmp_path, sources)
