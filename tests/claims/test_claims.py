"""Claims between real processes: on one host, on another, in another container, stopped, dead."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pipeline import claims
from pipeline.claims import (
    Holder,
    claimed,
    detecting,
    files,
    holder,
    holding,
    newest,
    process_started,
)
from pipeline.claims import process as process_module
from pipeline.job import is_after
from pipeline.outcome import BusyError, Exit, SupersededError

SILENT = 1.5
HOLD = """
import sys
from pathlib import Path
from pipeline import claims
from pipeline.outcome import classify
try:
    with claims.claimed(Path(sys.argv[1])):
        print("held", flush=True)
        for line in sys.stdin:
            claims.confirm()
            print("wrote", flush=True)
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(classify(error).code)
"""
ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname login07 && exec "$@"', "sh")
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv(detecting.VARIABLE, str(SILENT))


@pytest.fixture
def claim(tmp_path):
    return tmp_path / "claim"


@contextmanager
def held_by(claim, *around):
    """A process that holds `claim`, started by the command `around`."""
    command = [*around, sys.executable, "-c", HOLD, str(claim)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as other:
        first = other.stdout.readline()
        if around and not first:
            pytest.skip(f"no such namespace here: {other.stderr.read()}")
        assert first == "held\n", other.stderr.read()
        try:
            yield other
        finally:
            other.kill()


def names(claim):
    return sorted(path.name for path in claim.iterdir())


def test_a_claim_is_held_while_the_work_lasts(claim):
    assert holder(claim) is None
    with claimed(claim):
        assert holder(claim) == Holder.of(os.getpid())
        assert names(claim) == ["00000001.json"]
    assert holder(claim) is None
    assert names(claim) == ["00000001.over"]


def test_work_that_fails_gives_its_claim_back(claim):
    with pytest.raises(ZeroDivisionError), claimed(claim):
        _ = 1 / 0
    assert holder(claim) is None


def test_numbers_only_grow_and_nothing_else_stays(claim):
    for number in range(1, 4):
        (claim / ".00000002.json.host.7.new").parent.mkdir(exist_ok=True)
        (claim / ".00000002.json.host.7.new").write_text("of a process that was killed")
        with claimed(claim) as mine:
            assert mine.number == number
            assert names(claim) == [f"0000000{number}.json"]


def test_a_second_process_is_told_of_the_first(claim):
    pid = os.getpid()
    expected = rf"process {pid} on .* is at work here. Wait for it, or end it with: kill {pid}$"
    with claimed(claim):
        with pytest.raises(BusyError, match=expected), claimed(claim):
            pass
        assert holder(claim) is not None


def test_the_claim_of_a_killed_process_is_taken_over_at_once(claim, capsys):
    with held_by(claim) as other:
        other.kill()
        other.wait()
        began = time.monotonic()
        with claimed(claim) as mine:
            assert mine.number == 2
        assert time.monotonic() - began < SILENT / 2
    assert capsys.readouterr().err == ""


def test_a_later_process_of_the_same_number_holds_nothing(claim):
    with held_by(claim) as other:
        other.kill()
    found = json.loads((claim / "00000001.json").read_text())
    found["holder"] |= {"pid": os.getpid(), "started": process_started(os.getpid()) - 1}
    (claim / "00000001.json").write_text(json.dumps(found))
    assert holder(claim) is None


def test_a_stopped_process_on_this_host_keeps_its_claim(claim):
    with held_by(claim) as other:
        other.send_signal(signal.SIGSTOP)
        time.sleep(2 * SILENT)
        expected = (
            f"It is stopped: kill -CONT {other.pid} lets it go on, kill -9 {other.pid} ends it"
        )
        with pytest.raises(BusyError, match=expected), claimed(claim):
            pass
        other.send_signal(signal.SIGCONT)
        assert say(other) == "wrote\n"


def say(other):
    """Let the process write; return what it says."""
    other.stdin.write("\n")
    other.stdin.flush()
    return other.stdout.readline()


@pytest.mark.parametrize("around", [ELSEWHERE, CONTAINER], ids=["host", "container"])
def test_one_that_works_elsewhere_is_believed_whatever_the_files_dates_are(claim, around, capsys):
    with held_by(claim, *around) as other:
        for path in claim.iterdir():
            os.utime(path, (1, 1))
        began = time.monotonic()
        with pytest.raises(BusyError, match=r"process \d+ on .* is at work here"), claimed(claim):
            pass
        assert time.monotonic() - began < SILENT
        assert say(other) == "wrote\n"
    told = capsys.readouterr().err
    assert "has the claim claim. Whether it still works is not seen from here: watching it" in told


@pytest.mark.parametrize("around", [ELSEWHERE, CONTAINER], ids=["host", "container"])
def test_one_that_was_stopped_elsewhere_ends_and_leaves_its_successors_claim(claim, around):
    with held_by(claim, *around) as other:
        pid = inner(other.pid, around)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with claimed(claim) as mine:
            assert time.monotonic() - began > SILENT
            assert mine.number == 2
            os.kill(pid, signal.SIGCONT)
            other.stdin.write("\n")
            other.stdin.close()
            told = other.stderr.read()
            assert other.wait() == Exit.SUPERSEDED
            assert mine.is_held
        assert f"another process, {os.getpid()} on" in told
        assert "leaves everything to its successor" in told
        assert other.stdout.read() == ""


def inner(pid, around):
    """Return the process that works: the child of unshare, if that forks."""
    if around is ELSEWHERE:
        return pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_of_a_dead_process_elsewhere_the_claim_is_nobodys_after_the_silent_time(claim):
    with held_by(claim, *ELSEWHERE) as other:
        other.kill()
        other.wait()
        messages = []
        began = time.monotonic()
        with claimed(claim, notice=messages.append):
            assert SILENT < time.monotonic() - began < 3 * SILENT
    [message] = messages
    assert message == (
        f"{claim.parent}: process {other.pid} on login07 has the claim claim. Whether it still "
        "works is not seen from here: watching it for up to 2 s."
    )


@pytest.mark.parametrize("content", ["", '{"token": "a', "[]", '{"token": "a", "holder": {}}'])
def test_a_claim_that_a_crash_left_unreadable_is_nobodys_after_the_silent_time(claim, content):
    claim.mkdir()
    (claim / "00000007.json").write_text(content)
    messages = []
    with claimed(claim, notice=messages.append) as mine:
        assert mine.number == 8
        assert names(claim) == ["00000008.json"]
    assert "a process has the claim claim, which a crash left unreadable" in messages[0]


def test_a_job_that_has_ended_leaves_its_claim_to_the_next_at_once(claim, capsys):
    """A link of a minute would watch its predecessor, killed on another node, for two minutes."""
    held = files.Claimant("t", Holder("nid000003", 7, 7), 3600.0, work="c.pretrain.m.9-a1")
    claim.mkdir()
    files.link(claim, 1, held)
    began = time.monotonic()
    with claimed(claim, work="c.pretrain.m.10-a1", is_over=partial(is_after, "c.pretrain.m.10-a1")):
        assert newest(claim).number == 2
    assert time.monotonic() - began < SILENT
    assert capsys.readouterr().err == ""


def test_on_this_host_a_living_process_counts_and_not_its_job(claim):
    with held_by(claim), pytest.raises(BusyError), claimed(claim, is_over=lambda _: True):
        pass


def test_a_holder_that_beats_less_often_is_given_its_own_time(claim, monkeypatch):
    with held_by(claim, *ELSEWHERE):
        monkeypatch.setenv(detecting.VARIABLE, "0.2")
        with pytest.raises(BusyError), claimed(claim):
            pass


def test_a_judge_that_was_stopped_itself_has_seen_no_silence():
    seen = claims.files.Seen(1, is_over=False, content=b"", beat=b"1")
    watch = detecting.Watch()
    assert watch.look(seen, 0.0) is claims.ClaimState.UNKNOWN
    assert watch.look(seen, 1000.0) is claims.ClaimState.UNKNOWN
    looks = 0
    while watch.look(seen, 1000.0 + looks * 0.02) is claims.ClaimState.UNKNOWN:
        looks += 1
    assert looks * 0.02 > SILENT / 2


def test_what_fails_after_the_claim_was_lost_fails_for_that(claim):
    def fail():
        (claim / "00000002.json").write_text("another's")
        message = "its file is gone"
        raise FileNotFoundError(message)

    with pytest.raises(SupersededError) as end, claimed(claim):
        fail()
    assert isinstance(end.value.__cause__, FileNotFoundError)
    assert names(claim) == ["00000001.json", "00000002.json"]


def test_work_that_ends_after_the_claim_was_lost_is_told(claim):
    with pytest.raises(SupersededError, match="another process took over"), claimed(claim):
        (claim / "00000002.json").write_text("another's")


def test_a_claim_that_was_removed_is_lost(claim):
    with claimed(claim):
        (claim / "00000001.json").unlink()
        with pytest.raises(SupersededError, match=f"the claim {claim} is gone"):
            claims.confirm()


def test_programs_that_a_holder_starts_end_when_it_has_lost_its_claim(claim):
    command = [sys.executable, "-c", "from pipeline import claims; claims.confirm()"]

    def ended():
        environment = os.environ | claims.for_children()
        found = subprocess.run(command, env=environment, capture_output=True, check=False)
        return found.stderr.decode()

    with claimed(claim):
        assert ended() == ""
        (claim / "00000001.json").unlink()
        assert "SupersededError" in ended()
    assert claims.for_children() == {}


def test_a_holder_that_beats_is_recent_at_no_cost(claim, monkeypatch):
    with claimed(claim) as mine:
        monkeypatch.setattr(claims.files, "is_held", lambda *_: pytest.fail("looked up"))
        assert mine.is_recent
        assert claims.are_recent()
        monkeypatch.undo()
        mine.beaten_at -= SILENT
        assert not mine.is_recent
        assert claims.are_recent()


def test_who_works_for_a_holder_that_has_ended_was_not_superseded(claim):
    with claimed(claim) as mine:
        follower = claims.Claim(claim, mine.number)
        assert follower.is_held
    assert follower.is_held
    (claim / "00000002.json").write_text("another's")
    assert not follower.is_held


def test_a_zombie_does_not_live():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(child.pid) is None
    child.wait()
    assert process_started(child.pid) is None


def test_a_machine_without_proc_has_claims_that_are_watched(monkeypatch, tmp_path):
    me = Holder.of(os.getpid())
    process_module.boot_id.cache_clear()
    monkeypatch.setattr(process_module, "BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(process_module, "NAMESPACE", tmp_path / "none")
    assert (process_module.boot_id(), process_module.namespace()) == ("", "")
    assert not me.is_here
    process_module.boot_id.cache_clear()


def test_the_newest_claim_is_read_though_it_is_released_meanwhile(claim, monkeypatch):
    claim.mkdir()
    lists = iter([[(1, ".json")], [(1, ".over")]])
    monkeypatch.setattr(claims.files, "_numbered", lambda _: next(lists))
    assert newest(claim).is_over


def test_a_claim_that_its_holder_gave_back_is_not_taken_over(claim, monkeypatch):
    monkeypatch.setattr(holding, "_mine", holding._Mine())
    with claimed(claim) as first:
        pass
    claims.follow(claim, first.number)  # as other processes of a training do
    assert claims.are_held()
    assert not claims.are_taken_over()
    with held_by(claim):
        assert claims.are_taken_over()
        assert not claims.are_held()
