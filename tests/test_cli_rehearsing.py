"""The verb rehearse, as a user types it."""

import json
from pathlib import Path

import pytest

from pipeline.outcome import Exit

LADDER = str(Path(__file__).parent / "campaigns" / "ladder.toml")


@pytest.fixture
def rehearsal(cosmotron):
    def said(*words):
        return cosmotron("rehearse", LADDER, "--site", "frontier", *words)

    return said


def test_it_says_how_long_how_much_and_what_is_assumed(rehearsal):
    told = rehearsal()
    assert told.code == Exit.FINISHED, told.words
    assert "ladder on OLCF Frontier:" in told.words
    for each in ("days", "node-hours", "links in", "steps that count", "Assumed: a training"):
        assert each in told.words


def test_many_rehearsals_are_told_by_their_middle(rehearsal):
    told = rehearsal("--times", "3")
    assert "median of 3 rehearsals (80 % interval)" in told.words


def test_policies_stand_side_by_side_and_the_cheapest_is_named(rehearsal, tmp_path):
    told = rehearsal("--compare", "--plot", str(tmp_path / "burn.png"))
    assert told.code == Exit.FINISHED, told.words
    assert "Cheapest: " in told.words
    assert (tmp_path / "burn.png").read_bytes().startswith(b"\x89PNG")


def test_another_site_stands_beside(rehearsal):
    told = rehearsal("--beside", "perlmutter")
    assert told.code == Exit.FINISHED, told.words
    assert told.words.count("Cheapest: ") == 2
    assert "frontier: extended" in told.words
    assert "perlmutter: preempt" in told.words


def test_scripts_get_numbers(rehearsal):
    told = json.loads(rehearsal("--json", "--seed", "4").out)
    (only,) = told["rehearsals"]
    assert only["site"] == "frontier"
    assert only["node_hours"] > 0
    assert only["uses"][0].keys() == {"into", "node_hours", "share"}


def test_a_cap_that_stops_it_is_no_success(rehearsal):
    told = rehearsal("--cap", "0.1")
    assert told.code == Exit.FAILED
    assert "left of 0.10" in told.words
    assert "tasks were not done" in told.words


def test_a_queue_that_is_not_there_is_refused(rehearsal):
    told = rehearsal("--qos", "nosuch")
    assert told.code == Exit.USAGE
    assert "nosuch" in told.words


def test_a_machine_without_a_scheduler_has_nothing_to_rehearse(cosmotron):
    told = cosmotron("rehearse", LADDER, "--site", "local")
    assert told.code == Exit.USAGE
    assert "local: it has no queue, so there is nothing to rehearse. Run it instead." in told.words
