"""When controllers lived, whose they were, and how they ended."""

import json

import pytest

from pipeline import attendance, claims, clock
from pipeline.attendance import attending, lives
from pipeline.run import Run
from pipeline.trust import user_name


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, "tiny")


def test_a_controller_is_noted_from_its_begin_to_its_end(run, monkeypatch):
    monkeypatch.setattr(clock, "time", lambda: 100.0)
    with claims.claimed(run.claim), attending(run) as mine:
        monkeypatch.setattr(clock, "time", lambda: 160.0)
        mine.note("done")
    (life,) = lives(run)
    assert (life.began, life.seen, life.ending, life.user) == (100.0, 160.0, "done", user_name())


def test_one_that_was_killed_was_seen_a_minute_ago_at_most(run, monkeypatch):
    monkeypatch.setattr(clock, "time", lambda: 100.0)
    with claims.claimed(run.claim), attending(run) as mine:
        monkeypatch.setattr(clock, "time", lambda: 120.0)
        mine.note()  # too soon to be written
        (life,) = lives(run)
        assert (life.seen, life.ending) == (100.0, "")
        monkeypatch.setattr(attendance, "NOTE_SECONDS", 0.0)
        mine.note()
        assert lives(run)[0].seen == 120.0


def test_an_exception_is_how_it_ended(run):
    def leave():
        with claims.claimed(run.claim), attending(run):
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        leave()
    assert lives(run)[0].ending == "SystemExit"


def test_each_controller_has_a_life_of_its_own(run):
    for _ in range(2):
        with claims.claimed(run.claim), attending(run) as mine:
            mine.note("done")
    assert len(lives(run)) == 2


def test_who_drives_a_run_is_told(run, monkeypatch):
    assert attendance.driver(run) == ""
    monkeypatch.setattr(clock, "time", lambda: 0.0)
    with claims.claimed(run.claim), attending(run) as mine:
        assert attendance.driver(run).startswith(f"Driven by {user_name()} on ")
        mine.note("failed")
    told = attendance.driver(run)
    assert told.startswith("No controller runs. The last one, of ")
    assert told.endswith("ended at 1970-01-01 00:00 UTC: failed.")


def test_one_that_was_killed_was_last_seen(run):
    with claims.claimed(run.claim), attending(run):
        pass
    assert ", was last seen at " in attendance.driver(run)


def test_a_damaged_record_is_left_out(run):
    run.controllers.mkdir(parents=True)
    (run.controllers / "1.json").write_text(json.dumps({"began": "yesterday"}))
    (run.controllers / "2.json").write_text("{")
    assert lives(run) == []
