"""MPMv2 probed: what is told and drawn of hidden constituents is better than a guess."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_mpmv2 import jets, made

from pipeline.families.mpmv2.probe import probe
from pipeline.probing import BATCH_EVENTS, Subject

TASKS = ("identity", "regression", "clusters", "cnf", "cfm", "ssfm")


class Jets(Subject):
    """Eight batches of jets, without a store."""

    def batches(self):
        return (jets(BATCH_EVENTS, seed=seed) for seed in range(100, 108))


def probed(system, tmp_path):
    module, cpu = system.module.eval(), torch.device("cpu")
    return probe(Jets(module.model, system, None, None, cpu, 1, tmp_path))


@pytest.fixture(scope="module")
def trained():
    """All heads on one decoder, some seconds of training."""
    system = made(*TASKS, layer_scale=1.0)
    optimiser = torch.optim.Adam(system.module.train().parameters(), lr=3e-3)
    for step in range(150):
        torch.manual_seed(step)
        batch = jets(16, seed=step)
        optimiser.zero_grad()
        system.objective(system.module(batch), batch)[0].backward()
        optimiser.step()
    return system


def test_a_trained_model_tells_and_draws_better_than_one_that_is_not(trained, tmp_path):
    torch.manual_seed(2)
    before = probed(made(*TASKS, layer_scale=1.0), tmp_path).scores
    torch.manual_seed(2)
    look = probed(trained, tmp_path)
    after = look.scores
    assert set(after) == set(before) == set(look.about)
    assert after["error_deta"] < 0.95 < before["error_deta"]
    assert after["accuracy_identity"] >= after["accuracy_identity_most_frequent"] - 0.02
    assert after["accuracy_clusters"] > before["accuracy_clusters"]
    for kind in ("cnf", "cfm", "ssfm"):
        assert after[f"w1_deta_{kind}"] < before[f"w1_deta_{kind}"]
    low, high = look.intervals["accuracy_identity"]
    assert low < after["accuracy_identity"] < high
    assert len(look.histograms) == 9
    assert all(sum(each.true) == sum(each.made) for each in look.histograms)


def test_a_draw_is_of_the_seed(trained):
    batch = jets(6)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(trained.module.eval().sample(batch, steps=4))
    (rows, first), (again, second) = drawn
    assert torch.equal(rows, again)
    for name, values in first.items():
        assert values.shape == (len(rows), 7)
        assert torch.equal(values, second[name])
        assert np.isfinite(values.numpy()).all()
