import json

import pytest

from pipeline.claims import claimed
from pipeline.outcome import RunError, SupersededError
from pipeline.training.engine import checkpoint


def written(checkpoints, events_seen, text="weights"):
    """A sealed checkpoint of two files."""
    folder = checkpoint.temporary(checkpoints, events_seen)
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "model.pt").write_text(text)
    (folder / "random.pt").write_text("dice")
    checkpoint.seal(folder, events_seen)
    return checkpoint.folder(checkpoints, events_seen)


def test_what_was_sealed_verifies_and_tells_how_far_it_is(tmp_path):
    sealed = written(tmp_path, 40)
    assert sealed.name == "step-000000000040"
    assert checkpoint.verify(sealed) == 40
    names = json.loads((sealed / checkpoint.MANIFEST).read_text())["files"]
    assert sorted(names) == ["random.pt", "state/model.pt"]


def test_the_newest_by_number_of_events_is_found(tmp_path):
    for events in (1_000, 40, 200):
        written(tmp_path, events)
    assert checkpoint.newest(tmp_path) == (checkpoint.folder(tmp_path, 1_000), 1_000)


def test_no_checkpoint_at_all_is_a_fresh_start(tmp_path):
    assert checkpoint.newest(tmp_path / "checkpoints") is None


def test_one_that_was_never_finished_does_not_count(tmp_path):
    torn = checkpoint.temporary(tmp_path, 80)
    torn.mkdir()
    (torn / "model.pt").write_text("half")
    assert checkpoint.newest(tmp_path) is None
    sealed = written(tmp_path, 40)
    assert checkpoint.newest(tmp_path) == (sealed, 40)


def test_a_new_one_replaces_one_of_the_same_number(tmp_path):
    written(tmp_path, 40, "old")
    sealed = written(tmp_path, 40, "new")
    assert (sealed / "state" / "model.pt").read_text() == "new"
    assert checkpoint.verify(sealed) == 40


def test_those_that_others_begin_from_are_never_removed(tmp_path):
    for events in (20, 40, 60, 80):
        written(tmp_path, events)
        checkpoint.prune(tmp_path, keep=2, always=(20, 80))
    kept = [checkpoint.folder(tmp_path, events) for events in (20, 60, 80)]
    assert sorted(tmp_path.iterdir()) == kept
    assert checkpoint.exactly(tmp_path, 20) == (kept[0], 20)


def damage(sealed, how):
    if how == "changed":
        (sealed / "state" / "model.pt").write_text("other")
    elif how == "missing":
        (sealed / "random.pt").unlink()
    elif how == "no manifest":
        (sealed / checkpoint.MANIFEST).unlink()
    else:
        (sealed / checkpoint.MANIFEST).write_text("{")


DAMAGES = {
    "changed": "model.pt: missing or changed since it was written; the checkpoint is damaged.",
    "missing": "random.pt: missing or changed since it was written; the checkpoint is damaged.",
    "no manifest": "no manifest.json; this checkpoint is not complete.",
    "torn manifest": r"manifest.json: damaged \(",
}


@pytest.mark.parametrize(("how", "message"), DAMAGES.items())
def test_damage_is_found_and_the_older_one_taken(tmp_path, how, message):
    older, newer = written(tmp_path, 40), written(tmp_path, 80)
    damage(newer, how)
    with pytest.raises(RunError, match=message):
        checkpoint.verify(newer)
    assert checkpoint.newest(tmp_path) == (older, 40)


def test_when_none_verifies_it_is_an_error_and_never_a_fresh_start(tmp_path):
    for events in (40, 80):
        damage(written(tmp_path, events), "changed")
    with pytest.raises(RunError) as caught:
        checkpoint.newest(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path}: no checkpoint verifies" in message
    assert "step-000000000040" in message
    assert "step-000000000080" in message
    assert message.endswith("To start again, move the folder away and keep it.")


def test_old_and_unfinished_ones_are_pruned(tmp_path):
    for events in (8, 16, 24, 1_000):
        written(tmp_path, events)
    checkpoint.temporary(tmp_path, 32).mkdir()
    checkpoint.prune(tmp_path, keep=2)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["step-000000000024", "step-000000001000"]


def test_fewer_than_kept_are_all_kept(tmp_path):
    written(tmp_path, 8)
    checkpoint.prune(tmp_path, keep=2)
    assert checkpoint.newest(tmp_path) is not None


def test_one_of_another_order_of_events_is_refused(tmp_path):
    sealed = written(tmp_path, 40)
    content = json.loads((sealed / checkpoint.MANIFEST).read_text())
    del content[checkpoint.SEAL], content[checkpoint.ORDER]
    content[checkpoint.SEAL] = checkpoint._seal(content)
    (sealed / checkpoint.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(RunError, match="an earlier version wrote it, which visited the events in"):
        checkpoint.newest(tmp_path)


def test_who_was_superseded_seals_and_removes_nothing(tmp_path):
    claim, checkpoints = tmp_path / "claim", tmp_path / "checkpoints"
    for seen in (10, 20, 30):
        written(checkpoints, seen)
    before = sorted(path.name for path in checkpoints.iterdir())

    def taken_over(work):
        def stopped(number):
            (claim / f"{number + 1:08d}.json").write_text("another's")
            work()

        with pytest.raises(SupersededError), claimed(claim) as mine:
            stopped(mine.number)
        for path in claim.iterdir():
            path.unlink()

    taken_over(lambda: written(checkpoints, 40, "another's"))
    taken_over(lambda: checkpoint.prune(checkpoints, keep=1))
    unfinished = checkpoint.temporary(checkpoints, 40).name
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted([*before, unfinished])


def test_two_holders_never_write_to_one_folder(tmp_path):
    assert checkpoint.temporary(tmp_path, 40, 1) != checkpoint.temporary(tmp_path, 40, 2)
