"""Files of own code that a declaration speaks of."""

from pipeline.campaign.contents import custom_files


def test_own_files_are_found_in_keys_and_values_at_any_depth():
    model = {
        "family": "custom",
        "code": "/a/cells.py",
        "objectives": {"energies": 1.0, "/b/losses.py:spread": 0.1},
        "interaction": {"function": "/c/pairs.py:pairs", "columns": ["x.pyc", "y"]},
    }
    files = {"experiment": "/d/showers.py:SHOWERS", "bins": ""}
    found = custom_files([model, {"task": "jets"}, files])
    assert found == {"cells.py", "losses.py", "pairs.py", "showers.py"}
    assert custom_files({"experiment": "sphenix", "number": 3}) == frozenset()
