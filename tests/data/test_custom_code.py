"""Own code that fails: its own line is named, in whichever program it runs."""

import pytest

from pipeline.data import custom_code, program
from pipeline.run import TaskFolder

TEXT = """
def reader(path):
    return opened(path)


def opened(path):
    return int(path)
"""
PLACE = "invalid literal for int() with base 10: 'x' (my_reader.py, line 7)"


def error_of(work):
    with pytest.raises(ValueError, match="invalid literal") as caught:
        work("x")
    return caught.value


@pytest.fixture
def error(tmp_path):
    file = tmp_path / "my_reader.py"
    file.write_text(TEXT)
    return error_of(custom_code.load(file, "reader"))


def test_the_last_line_of_own_code_is_named_and_none_of_ours(error):
    assert custom_code.located("no number", error) == "no number (my_reader.py, line 7)"
    assert custom_code.located("no number", error_of(int)) == "no number"


def test_a_staging_that_own_code_stops_names_the_line(error, tmp_path, capsys):
    assert program._failed(TaskFolder(tmp_path), error) == 1
    assert capsys.readouterr().err.endswith(f"{PLACE}\n")


def test_a_training_that_own_code_stops_names_the_line(error, tmp_path, capsys):
    pytest.importorskip("deepspeed")
    from pipeline.training.engine.engine import World
    from pipeline.training.programs import program as training

    assert training._failed(TaskFolder(tmp_path), error, None, World()) == 1
    assert capsys.readouterr().err.endswith(f"{PLACE}\n")
