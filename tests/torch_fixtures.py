"""One small store and one training that nothing disturbed, for the rooms that import torch."""

from pathlib import Path

import pytest

from pipeline.outcome import Exit
from pipeline.run import TaskFolder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 24 labelled events in two shards."""
    pytest.importorskip("torch")
    from made_batches import write_store

    return write_store(tmp_path_factory.mktemp("stores") / "made.zarr")


@pytest.fixture(scope="session")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskFolder:
    """The folder of a pretraining on two ranks that nothing disturbed."""
    pytest.importorskip("deepspeed")
    from ranks import pretraining, run

    folder = pretraining(tmp_path_factory.mktemp("undisturbed"), store)
    assert run(folder) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    pytest.importorskip("torch").manual_seed(0)
