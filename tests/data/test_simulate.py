import pytest
from made_events import read_all, simulate_task

from pipeline.data.program import run
from pipeline.data.simulate import SIMULATE, part_seed
from pipeline.data.simulation.sphenix import track_count
from pipeline.outcome import Exit
from pipeline.writing import read_json


def simulate(folder, *steps):
    return [run(SIMULATE, [str(folder.path), *step.split()]) for step in steps]


def contents(task):
    return {path.name: path.read_bytes() for _, path in task.files}


def test_a_task_becomes_files_and_a_summary(tmp_path):
    folder, task = simulate_task(tmp_path)
    assert simulate(folder, "--part 0", "--part 1", "--finish") == [0, 0, 0]
    assert folder.is_done
    result = read_json(folder.result)
    assert (result["outcome"], result["files"], result["events"]) == ("finished", 2, 6)
    points = sum(len(read_all(path)[0].points) for _, path in task.files)
    assert result["means"]["points"] == points / 6
    assert 1 < result["means"]["tracks"] < 60


def test_parts_do_not_depend_on_their_order(tmp_path):
    (tmp_path / "a").mkdir()
    first, one = simulate_task(tmp_path / "a")
    second, two = simulate_task(tmp_path / "b")
    simulate(first, "--part 0", "--part 1")
    simulate(second, "--part 1", "--part 0")
    assert contents(one) == contents(two)
    files = contents(one)
    assert files["spacepoints_000.npz"] != files["spacepoints_001.npz"]


def test_seeds_differ_between_parts_and_tasks():
    assert len({part_seed(seed, number) for seed in range(20) for number in range(20)}) == 400


def test_nothing_is_done_twice(tmp_path):
    folder, task = simulate_task(tmp_path, files={"train": 1})
    simulate(folder, "--part 0")
    age = task.files[0][1].stat().st_mtime_ns
    assert simulate(folder, "--part 0") == [0]
    assert task.files[0][1].stat().st_mtime_ns == age


def test_a_damaged_file_is_noticed_and_made_again(tmp_path, capsys):
    folder, task = simulate_task(tmp_path, files={"train": 1})
    simulate(folder, "--part 0")
    whole = contents(task)
    task.files[0][1].write_bytes(b"damage")
    assert simulate(folder, "--finish") == [Exit.BAD_INPUT]
    assert "not what was written. Run again with --part 0" in capsys.readouterr().err
    assert not folder.is_done
    assert simulate(folder, "--part 0", "--finish") == [0, 0]
    assert contents(task) == whole


def test_finish_names_the_missing_part(tmp_path, capsys):
    folder, _ = simulate_task(tmp_path)
    simulate(folder, "--part 0")
    assert simulate(folder, "--finish") == [Exit.BAD_INPUT]
    assert "1 of 2 parts are not done, the first is part 1" in capsys.readouterr().err
    assert read_json(folder.result)["outcome"] == "bad_input"


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_are_written_where_asked(tmp_path, labelled):
    folder, task = simulate_task(tmp_path, files={"train": 1}, labelled=labelled)
    simulate(folder, "--part 0")
    assert bool(read_all(task.files[0][1])[0].per_point) == labelled


def test_root_files_are_the_same_each_time(tmp_path):
    """Whose events are the bytes of their file."""
    found = []
    for name in ("a", "b"):
        folder, task = simulate_task(tmp_path / name, files={"train": 1}, format="root")
        assert simulate(folder, "--part 0", "--finish") == [0, 0]
        found.append(task.files[0][1])
    assert found[0].read_bytes() == found[1].read_bytes()
    assert "pt_gev" in read_all(found[0])[0].per_point


def test_leftovers_of_a_killed_process_are_cleared(tmp_path):
    folder, task = simulate_task(tmp_path, files={"train": 1})
    path = task.files[0][1]
    path.parent.mkdir(parents=True)
    (path.parent / f".{path.name}.123.tmp").write_text("half")
    other = path.parent / ".spacepoints_1000.npz.7.tmp"
    other.write_text("at work")
    simulate(folder, "--part 0")
    assert list(path.parent.glob(".*")) == [other]


def test_tracks_are_counted_event_by_event_without_noise(sample):
    labels = sample.events.per_point["track_id"]
    expected = sum(
        len(set(labels[start:stop].tolist()) - {0})
        for start, stop in zip(sample.events.offsets[:-1], sample.events.offsets[1:], strict=True)
    )
    assert track_count(sample.events) == expected
