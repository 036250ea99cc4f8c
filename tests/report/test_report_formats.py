import pytest

from pipeline.report import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (58134, "58,134"), (0.123456, "0.1235"), ("frozen", "frozen"), (0, "0")],
)
def test_numbers_are_written_as_a_person_reads_them(value, text):
    assert formats.number(value) == text


def test_scores_have_four_decimals_and_unknown_ones_a_dash():
    assert formats.score(0.9) == "0.9000"
    assert formats.score(None) == "–"


@pytest.mark.parametrize(("seconds", "text"), [(4.25, "4.2 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_durations_have_the_unit_a_person_would_choose(seconds, text):
    assert formats.duration(seconds) == text


def test_hashes_are_shortened():
    assert formats.short("abcdef" * 10) == "abcdefabcdef"
    assert formats.short(None) == "–"
