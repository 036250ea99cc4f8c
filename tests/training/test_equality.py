"""The weights of a training are the same on any number of processes, in any micro-batches.

And under any ZeRO stage, killed and resumed or not. `python -m tests.equality` has a row for each
objective, and more settings.
"""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from equality import QUICK, TOLERANCE, WHOLE, table
from every_objective import CASES, exception, together

EXCEPTIONS = [name for name in CASES if exception(name)]


@pytest.fixture(scope="module")
def rows():
    """The table of every model with all its objectives, and of the exceptions."""
    return table([*together(), *EXCEPTIONS], QUICK)


@pytest.mark.slow
def test_weights_are_equal_however_a_training_is_divided(rows):
    apart = {name: max(row.values()) for name, row in rows.items() if name not in EXCEPTIONS}
    assert len(apart) > 15
    assert {name: each for name, each in apart.items() if each > TOLERANCE} == {}


@pytest.mark.slow
def test_what_depends_on_the_division_is_said_and_shows(rows):
    """Else the table would not show a difference where there is one."""
    assert all(max(rows[name].values()) > 100 * TOLERANCE for name in EXCEPTIONS)


@pytest.mark.slow
def test_what_is_taken_together_is_of_all_processes():
    rows = table(EXCEPTIONS, WHOLE)
    assert {name: row for name, row in rows.items() if max(row.values()) > TOLERANCE} == {}
