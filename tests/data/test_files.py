import pytest

from pipeline.data.errors import BadInput
from pipeline.data.files import all_written, whole, written


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with written(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_files_that_belong_together_come_together(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(FileNotFoundError), all_written(paths) as temporaries:
        temporaries[0].write_text("a")  # and no b
    assert names(tmp_path) == []
    with all_written(paths) as temporaries:
        for each in temporaries:
            each.write_text(each.name)
    assert names(tmp_path) == ["a", "b"]


def test_what_a_killed_writer_left_is_removed_and_others_left_alone(tmp_path):
    (tmp_path / ".a[1].txt.123.tmp").write_text("half")
    (tmp_path / ".a1.txt.123.tmp").write_text("at work")
    with written(tmp_path / "a[1].txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == [".a1.txt.123.tmp", "a[1].txt"]


@pytest.mark.parametrize(
    ("said", "reason"), [("ends early.\nand more", "ends early"), ("", "ValueError")]
)
def test_damage_is_told_in_one_line(tmp_path, said, reason):
    with pytest.raises(BadInput) as told, whole(tmp_path / "a", "npz file", (ValueError,)):
        raise ValueError(said)
    message = f"{tmp_path / 'a'}: not a whole npz file ({reason}). Fetch or make it again."
    assert str(told.value) == message


def test_a_message_that_is_told_already_stays(tmp_path):
    with pytest.raises(BadInput, match=r"^told$"), whole(tmp_path, "file", (ValueError,)):
        raise BadInput("told")
