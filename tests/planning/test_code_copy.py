"""A job runs the code that it was submitted with, whatever becomes of the checkout."""

import shutil
import subprocess
import sys

import pytest

from pipeline import catalog
from pipeline.planning import code_copy
from pipeline.run import Run


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of our own, to be changed."""
    root = tmp_path / "checkout"
    for shelf in ("pipeline", "jobs", "sites"):
        source = catalog.PACKAGE.parent / shelf
        shutil.copytree(source, root / shelf, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(catalog, "PACKAGE", root / "pipeline")
    code_copy.digest.cache_clear()
    yield root
    code_copy.digest.cache_clear()


def shown(code, expression):
    """What a program prints that imports the copy in `code`."""
    program = f"import pipeline; from pipeline import catalog; print({expression})"
    environment = {"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return ended.stdout.strip()


def test_a_copy_is_imported_whole(checkout, tmp_path):
    code = code_copy.write(Run(tmp_path, "tiny"))
    assert shown(code, "pipeline.__file__") == str(code / "pipeline" / "__init__.py")
    assert "perlmutter" in shown(code, "catalog.names('sites')")
    assert shown(code, "catalog.folder('jobs/templates')") == str(code / "jobs" / "templates")


def test_what_was_submitted_keeps_its_code_and_what_is_submitted_next_has_the_new(
    checkout, tmp_path
):
    run = Run(tmp_path, "tiny")
    before = code_copy.write(run)
    with (checkout / "pipeline" / "__init__.py").open("a") as stream:
        stream.write("\nEDITED = True\n")
    code_copy.digest.cache_clear()
    after = code_copy.write(run)
    assert shown(before, "hasattr(pipeline, 'EDITED')") == "False"
    assert shown(after, "hasattr(pipeline, 'EDITED')") == "True"


def test_the_same_code_is_copied_once(checkout, tmp_path):
    run = Run(tmp_path, "tiny")
    first = code_copy.write(run)
    assert code_copy.write(run) == first == code_copy.folder(run)
    assert list(run.code.iterdir()) == [first]


def test_a_copy_that_cannot_be_made_leaves_nothing(checkout, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    run = Run(tmp_path, "tiny")
    with pytest.raises(OSError, match="No space left"):
        code_copy.write(run)
    assert list(run.code.iterdir()) == []
