"""What another precision than fp32 changes: how products are made, and the losses within a band."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import pretraining, run

from pipeline.outcome import Exit
from pipeline.precision import PRECISIONS
from pipeline.training.engine.engine import multiply_in

EVENTS_SEEN = 120
BAND = 0.03  # of the loss in fp32, the median over steps; a step has 8 bits of mantissa, 0.4 %


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tf32_is_used_where_it_is_asked_for_alone(precision):
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True  # as torch has it
        multiply_in(precision)
        found = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        assert found == (precision == "tf32",) * 2
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def losses(folder):
    """The loss of each step."""
    return np.array([json.loads(line)["loss"] for line in folder.metrics.read_text().splitlines()])


@pytest.mark.slow
def test_the_losses_of_bf16_are_those_of_fp32_within_a_band(store, tmp_path):
    found = {}
    for precision in ("fp32", "bf16"):
        folder = pretraining(
            tmp_path / precision, store, events_seen=EVENTS_SEEN, precision=precision
        )
        assert run(folder, size=1) == Exit.FINISHED
        found[precision] = losses(folder)
    off = np.abs(found["bf16"] - found["fp32"]) / found["fp32"]
    assert 0 < np.median(off) < BAND
    assert off[0] < BAND
    last = len(off) // 4
    assert found["bf16"][-last:].mean() == pytest.approx(found["fp32"][-last:].mean(), rel=BAND)
    assert found["bf16"][-last:].mean() < found["bf16"][:last].mean()
