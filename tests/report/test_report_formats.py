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


@pytest.mark.parametrize(
    ("value", "text"), [(40.678, "40.68"), (162.21, "162.2"), (1615.2, "1,615"), (1e400, "∞")]
)
def test_larger_scores_have_fewer_decimals(value, text):
    assert formats.score(value) == text


def test_a_spread_has_the_decimals_of_its_mean():
    assert formats.score(0.0085, 40.68) == "0.01"
    assert formats.score(9.05, 108.0) == "9.1"


@pytest.mark.parametrize(("seconds", "text"), [(4.25, "4.2 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_durations_have_the_unit_a_person_would_choose(seconds, text):
    assert formats.duration(seconds) == text


def test_hashes_are_shortened():
    assert formats.short("abcdef" * 10) == "abcdefabcdef"
    assert formats.short(None) == "–"
