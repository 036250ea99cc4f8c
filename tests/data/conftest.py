import pytest

from pipeline.data.simulation.sample import make


@pytest.fixture(scope="session")
def sample():
    return make(20, seed=5, source="sample")
