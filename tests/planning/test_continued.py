"""A longer training goes on from a checkpoint: what that means for a run, and what is moved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, SCRATCH, STAGED, campaign, finish, meanings

from pipeline import records
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import Task
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.outcome import RunError
from pipeline.planning import changes
from pipeline.records import Beginning, TaskProgress
from pipeline.run import Run

Changed = dict[str, Any]
EVALUATED = FULL.replace("finetune", "evaluate")
TRUNK = "pretrain/m-trunk-s1"


@pytest.fixture
def asked(tmp_path: Path, raw: Path, run: Run) -> Callable[..., list[Task]]:
    """The tasks of the campaign, with these keys of the pretraining's training."""

    def tasks(schedule: str = "constant", **keys: Any) -> list[Task]:
        def change(content: Changed) -> None:
            content["pretrain"]["training"] |= {"schedule": schedule, **keys}

        return campaign(tmp_path, raw, change).tasks(run)

    return tasks


def save(run: Run, *events: int, key: str = PRETRAINED) -> None:
    """Leave checkpoints, weights, metrics and a chain, as a training does."""
    folder = run.task(key)
    for each in events:
        (folder.checkpoints / f"step-{each:012d}").mkdir(parents=True)
    for path in (folder.path / WEIGHTS, folder.metrics, folder.chain / "0001-begun.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    folder.result.write_text("{}")


def test_a_constant_rate_goes_on_from_its_last_checkpoint(asked: Any, run: Run) -> None:
    finish(asked(), run)
    save(run, 4, 8)
    tasks = asked(events_seen=16)
    found = changes.compare(tasks, run)
    assert str(found[PRETRAINED]) == "training.events_seen 8 → 16; from 8 events on"
    assert found[PRETRAINED].meaning == "goes on"
    assert found[FULL].meaning == "made again"
    assert str(found[FULL]) == f"made of {PRETRAINED}, whose product is replaced"
    assert {found[key].meaning for key in (STAGED, SCRATCH)} == {"the same"}
    assert changes.begun(found, tasks) == {PRETRAINED: 0.5}
    assert changes.done_shares(found, tasks) == {PRETRAINED: 0.5, FULL: 0.0, EVALUATED: 0.0}


def test_what_it_had_made_is_kept_aside_and_the_checkpoint_stays(asked: Any, run: Run) -> None:
    finish(asked(), run)
    save(run, 4, 8)
    tasks = asked(events_seen=16)
    aside = changes.apply(changes.compare(tasks, run), tasks, run)
    assert aside is not None
    kept = {path.name for path in (aside / PRETRAINED).iterdir()}
    assert kept == {"DONE", "result.json", "task.toml", "metrics.jsonl", "chain", WEIGHTS}
    folder = run.task(PRETRAINED)
    assert folder.saved == [4, 8]
    assert not folder.is_done
    assert folder.metrics.exists(), "its steps are still its own"
    assert records.read(folder.progress, TaskProgress) == TaskProgress(
        done=8, total=16, unit="events"
    )
    found = changes.compare(tasks, run)
    assert (found[PRETRAINED].meaning, found[PRETRAINED].differences) == ("goes on", ())
    assert changes.begun(found, tasks) == {PRETRAINED: 0.5}, "also after a controller was killed"
    assert (aside / FULL / "DONE").exists()


def test_a_trapezoid_goes_on_from_before_its_decay(asked: Any, run: Run) -> None:
    decays = {"decay_events": 4}
    finish(asked("trapezoid", **decays), run)
    save(run, 4, 8)
    tasks = asked("trapezoid", events_seen=16, **decays)
    found = changes.compare(tasks, run)
    assert str(found[PRETRAINED]).endswith("8 → 16; from 4 events on")
    aside = changes.apply(found, tasks, run)
    assert aside is not None
    assert run.task(PRETRAINED).saved == [4]
    assert (aside / PRETRAINED / "checkpoints" / "step-000000000008").is_dir()


def test_a_trapezoid_without_a_checkpoint_before_its_decay_is_made_again(
    asked: Any, run: Run
) -> None:
    finish(asked("trapezoid", decay_events=4), run)
    save(run, 8)
    found = changes.compare(asked("trapezoid", events_seen=16, decay_events=4), run)
    assert found[PRETRAINED].meaning == "made again"
    assert str(found[PRETRAINED]) == (
        "training.events_seen 8 → 16; it has no checkpoint of its first 4 events, up to which both "
        "are the same"
    )


def test_a_cosine_is_made_again_and_says_so(asked: Any, run: Run) -> None:
    finish(asked("cosine"), run)
    save(run, 4, 8)
    found = changes.compare(asked("cosine", events_seen=16), run)
    assert found[PRETRAINED].meaning == "made again"
    assert "'cosine' of another length differs from its first step on" in str(found[PRETRAINED])


def test_a_shorter_one_ends_where_its_checkpoint_is(asked: Any, run: Run) -> None:
    finish(asked(events_seen=16), run)
    save(run, 8, 16)
    tasks = asked(events_seen=8)
    found = changes.compare(tasks, run)
    assert str(found[PRETRAINED]) == "training.events_seen 16 → 8; from 8 events on"
    changes.apply(found, tasks, run)
    assert run.task(PRETRAINED).saved == [8]


def test_one_that_is_not_done_goes_on_too(asked: Any, run: Run) -> None:
    finish(asked(), run)
    save(run, 4)
    run.task(PRETRAINED).done.unlink()
    assert meanings(asked(events_seen=16), run)[PRETRAINED] == "goes on"


def test_a_new_dataset_makes_it_again_whatever_its_length(
    tmp_path: Path, raw: Path, asked: Any, run: Run
) -> None:
    finish(asked(), run)
    save(run, 8)

    def change(content: Changed) -> None:
        content["pretrain"]["training"] |= {"schedule": "constant", "events_seen": 16}
        content["datasets"]["ours"]["order"] = "PER"

    found = changes.compare(campaign(tmp_path, raw, change).tasks(run), run)
    assert found[PRETRAINED].meaning == "made again"
    assert str(found[PRETRAINED]) == "training.events_seen 8 → 16"


def test_a_kill_in_between_goes_on_all_the_same(
    asked: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    decays = {"decay_events": 4}
    finish(asked("trapezoid", **decays), run)
    save(run, 4, 8)
    tasks = asked("trapezoid", events_seen=16, **decays)
    rename = Path.rename
    for moves in range(20):
        left = iter(range(moves))

        def dies(path: Path, to: Path, left: Any = left) -> Path:
            if "replaced" in Path(to).parts and next(left, None) is None:
                raise KeyboardInterrupt
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", dies)
        try:
            changes.apply(changes.compare(tasks, run), tasks, run)
        except KeyboardInterrupt:
            found = changes.compare(tasks, run)[PRETRAINED]
            assert (found.meaning, found.start) == ("goes on", 4), moves
        else:
            break
    assert moves >= 3
    assert run.task(PRETRAINED).saved == [4]
    assert len(list(run.replaced.glob(f"*/{PRETRAINED}/{WEIGHTS}"))) == 1, "nothing was lost"


def test_its_jobs_so_far_worked_for_the_shorter_one(asked: Any, run: Run) -> None:
    finish(asked(), run)
    save(run, 8)
    ledger = Ledger(run.ledger)
    job = Record(
        kind=Kind.SUBMIT, time=1.0, site="local", stage="pretrain", task=PRETRAINED,
        job_key="c.pretrain.m-d4-s1.3-0a1b2c3d", job_id="77", nodes=1,
    )  # fmt: skip
    ledger.append(job)
    tasks = asked(events_seen=16)
    with pytest.raises(RunError, match=r"m-d4-s1 \(job 77\): the campaign was changed"):
        changes.apply(changes.compare(tasks, run), tasks, run)
    ledger.append(job.model_copy(update={"kind": Kind.END, "time": 2.0}))
    changes.apply(changes.compare(tasks, run), tasks, run)
    begun = records.read(run.task(PRETRAINED).beginning, Beginning)
    assert begun == Beginning(events_seen=8, last_job=3)


@pytest.fixture
def branched(tmp_path: Path, raw: Path, run: Run) -> Callable[..., list[Task]]:
    """The tasks of the campaign with a trunk and branches of these sizes, and decays of 4."""

    def tasks(*sizes: int) -> list[Task]:
        def change(content: Changed) -> None:
            content["pretrain"] |= {"branch": True, "events": list(sizes)}
            content["pretrain"]["training"] |= {
                "schedule": "trapezoid", "decay_events": 4, "events_seen": sizes[-1],
            }  # fmt: skip

        return campaign(tmp_path, raw, change).tasks(run)

    return tasks


def test_a_larger_size_makes_the_trunk_longer_and_no_branch_again(branched: Any, run: Run) -> None:
    finish(branched(8, 16), run)
    save(run, 4, 12, key=TRUNK)
    tasks = branched(8, 16, 32)
    found = changes.compare(tasks, run)
    assert str(found[TRUNK]) == (
        "events 12 → 28, branch_points (4, 12) → (4, 12, 28), training.events_seen 12 → 28; "
        "from 12 events on"
    )
    assert found["pretrain/m-d32-s1"].meaning == "new"
    others = {key: each.meaning for key, each in found.items() if "d32" not in key and key != TRUNK}
    assert set(others.values()) == {"the same"}, others


def test_a_size_in_between_takes_the_trunk_back_to_before_it(branched: Any, run: Run) -> None:
    finish(branched(8, 32), run)
    save(run, 4, 28, key=TRUNK)
    tasks = branched(8, 16, 32)
    found = changes.compare(tasks, run)
    assert (found[TRUNK].meaning, found[TRUNK].start) == ("goes on", 4)
    assert found["pretrain/m-d32-s1"].meaning == "the same"


def test_fewer_sizes_leave_the_trunk_as_it_is(branched: Any, run: Run) -> None:
    finish(branched(8, 16, 32), run)
    save(run, 4, 12, 28, key=TRUNK)
    declared = run.task(TRUNK).declaration.read_text()
    tasks = branched(8, 16)
    found = changes.compare(tasks, run)
    gone = {key for key, each in found.items() if each.meaning == "no longer asked"}
    assert {found[key].meaning for key in found.keys() - gone} == {"the same"}
    assert gone
    assert all("d32" in key for key in gone)
    assert changes.apply(found, tasks, run) is None
    assert run.task(TRUNK).declaration.read_text() == declared, "which says what it saw"
