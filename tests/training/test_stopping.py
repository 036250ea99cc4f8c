"""A program is asked to end by a signal, by SAVE, or by STOP for its task or its run."""

import os
import signal
import time

import pytest

pytest.importorskip("torch")

from ranks import pretraining, result

from pipeline.campaign import PretrainTask
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.training.link import stopping
from pipeline.training.link.stopping import Stop
from pipeline.training.programs import program
from pipeline.training.programs.pretrain import pretrain

NUMBERS = (signal.SIGUSR1, signal.SIGTERM)


@pytest.fixture
def folder(tmp_path):
    made = Run(tmp_path, "made").task("pretrain/made")
    made.path.mkdir(parents=True)
    return made


@pytest.fixture(autouse=True)
def handlers():
    """What this process does at a signal is put back."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def at_once(monkeypatch):
    """Files are looked at whenever one asks."""
    monkeypatch.setattr(stopping, "Throttle", lambda _: lambda: True)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", ["save_request", "stop", "run_stop"])
def test_a_file_asks(folder, name):
    stop = Stop(folder, polls=True)
    assert not stop.requested
    getattr(folder, name).touch()
    assert stop.requested
    assert stop.has_file == (name != "save_request")
    getattr(folder, name).unlink()
    assert stop.requested, "once asked, it ends"


def test_a_signal_that_came_before_anybody_listened_is_not_lost(folder, monkeypatch):
    monkeypatch.setenv("COSMOTRON_SIGNAL_LEAD_SECONDS", "60")
    for left, requested in ((61, False), (59, True)):
        monkeypatch.setenv("COSMOTRON_ENDS", str(time.time() + left))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as batch scripts do
        assert Stop(folder, polls=False).requested == requested
    assert not Stop(folder, polls=False).requested, "it was listened to: nothing has come"


def test_files_have_the_names_that_the_run_gives_them(folder, tmp_path):
    assert folder.run_stop == Run(tmp_path, "made").stop == tmp_path / "made" / "STOP"


@pytest.mark.usefixtures("at_once")
def test_only_the_first_process_looks_at_files(folder):
    folder.save_request.touch()
    assert not Stop(folder, polls=False).requested


def test_files_are_looked_at_once_a_second(folder):
    stop = Stop(folder, polls=True)
    assert not stop.requested
    folder.save_request.touch()
    assert not stop.requested


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_asks_any_process(folder, number):
    stop = Stop(folder, polls=False)
    os.kill(os.getpid(), number)
    assert stop.requested


def test_a_link_that_starts_while_an_order_stands_ends_at_once(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("DEEPSPEED_TIMEOUT", "1")  # or it would stay set
    folder = pretraining(folder.path, tmp_path / "none.zarr")
    folder.run_stop.touch()
    assert program.start(pretrain, PretrainTask, [str(folder.path)]) == Exit.CONTINUE
    assert "a file STOP is there; nothing is done." in capsys.readouterr().err
    folder.run_stop.unlink()
    assert program.start(pretrain, PretrainTask, [str(folder.path)]) == Exit.BAD_INPUT
    assert result(folder)["outcome"] == "bad_input"
