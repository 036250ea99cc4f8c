"""What tests of several rooms share."""

from pathlib import Path

import pytest
from whole_campaign import run_campaign


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of one run of the tiny campaign that nothing disturbed."""
    root = tmp_path_factory.mktemp("uninterrupted")
    ended = run_campaign(root)
    assert ended.returncode == 0, ended.stderr
    return root
