"""Random states: of each step and process its own, and the same again after a resume."""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import dropping
from ranks import pretraining, run

from pipeline.campaign import PretrainTask, declare, stored
from pipeline.families.custom.spec import Custom
from pipeline.outcome import Exit
from pipeline.training.engine.random_states import begin_step


def drawn(seed, step, rank):
    """A number from each generator at the beginning of a step."""
    begin_step(seed, step, rank)
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_each_seed_step_and_rank_has_numbers_of_its_own_and_always_the_same():
    several = list(itertools.product((1, 2), (0, 1, 2), range(8)))
    found = [drawn(*each) for each in several]
    assert found == [drawn(*each) for each in several]
    assert len({number for numbers in found for number in numbers}) == 3 * len(several)


@pytest.mark.slow
def test_no_two_processes_drop_the_same_from_the_first_step_on(store, tmp_path):
    pytest.importorskip("deepspeed")
    folder = pretraining(tmp_path / "task", store, events_seen=12)
    task = stored.read(folder, PretrainTask)
    folder.declaration.unlink()
    model = Custom(
        code=Path(dropping.__file__),
        function="build",
        settings={"folder": str(tmp_path)},
        columns=("energy", "eta", "phi", "r"),
        objectives={"squares": 1.0},
    )
    declare(folder, task.model_copy(update={"model": model}))
    assert run(folder, size=2) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    ranks = [(tmp_path / f"2-{rank}.jsonl").read_text().splitlines() for rank in range(2)]
    assert [len(lines) for lines in ranks] == [3, 3]
    masks = [tuple(json.loads(line)) for lines in ranks for line in lines]
    assert len(set(masks)) == 6
