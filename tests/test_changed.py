"""`make quick` runs the tests of what changed."""

from pathlib import Path

import changed


def test_the_tests_of_a_module_are_those_that_import_it():
    found = changed.tests_of([Path("pipeline/nn/graphs.py")])
    assert "tests/nn/test_graphs.py" in found
    assert "tests/budget/test_cost.py" not in found


def test_a_changed_test_and_what_tests_share_count_too():
    assert changed.tests_of([Path("tests/budget/test_cost.py")]) == ["tests/budget/test_cost.py"]
    assert "tests/nn/test_graphs.py" in changed.tests_of([Path("tests/made_batches.py")])
