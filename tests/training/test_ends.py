"""Each error has its class, and a message that says what to do."""

import errno

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import MODEL
from ranks import pretraining, training

from pipeline import catalog
from pipeline.campaign import PretrainTask, ProbeTask, too_big
from pipeline.data.errors import BadInput
from pipeline.run import Exit, RunError
from pipeline.training.link.ends import classified

GLOO = "[pair.cc:534] Connection closed by peer [127.0.0.1]:2950"


@pytest.fixture
def task(tmp_path):
    folder = pretraining(tmp_path, tmp_path / "none.zarr", zero=2, precision="bf16")
    return catalog.read(folder.declaration, PretrainTask)


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (BadInput("no store here"), "bad_input", Exit.BAD_INPUT),
        (FloatingPointError("The loss is nan"), "diverged", Exit.DIVERGED),
        (RunError("no checkpoint verifies"), "damaged", Exit.BUSY),
        (MemoryError(), "out_of_memory", Exit.OUT_OF_MEMORY),
        (MemoryError("std::bad_alloc"), "out_of_memory", Exit.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), "out_of_memory", Exit.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "out_of_memory", 88),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to"), "out_of_memory", 88),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory", 88),
        (OSError(errno.ENOSPC, "", "here/x"), "disk_full", Exit.CANNOT_WRITE),
        (OSError(errno.EDQUOT, "", "here/x"), "disk_full", Exit.CANNOT_WRITE),
        (PermissionError(errno.EACCES, "", "x"), "cannot_write", Exit.CANNOT_WRITE),
        (RuntimeError(GLOO), "peer_lost", Exit.PEER_LOST),
        (RuntimeError("Broken pipe"), "peer_lost", Exit.PEER_LOST),
        (RuntimeError("shapes do not match"), "error", Exit.FAILED),
        (KeyError("neighbours"), "error", Exit.FAILED),
    ],
)
def test_an_error_has_its_class(task, error, outcome, code):
    end = classified(error, task, 2)
    assert (end.outcome, end.code) == (outcome, code)
    assert end.message


def test_numpy_s_own_error_of_memory_is_one_of_memory(task):
    with pytest.raises(MemoryError) as caught:
        np.ones(1 << 57)
    end = classified(caught.value, task, 2)
    assert end.outcome == "out_of_memory"
    assert "Out of memory (Unable to allocate" in end.message


def test_a_lone_process_has_lost_nobody(task):
    assert classified(RuntimeError(GLOO), task, 1).outcome == "error"


def test_a_peer_that_is_lost_is_told(task):
    message = classified(RuntimeError(GLOO), task, 2).message
    assert message.startswith("Another process of this link ended without a word: killed")
    assert GLOO in message


def test_memory_names_model_batch_share_and_what_to_lower(task):
    message = classified(MemoryError("Unable to allocate\nmore"), task, 2).message
    assert message == (f"Out of memory (Unable to allocate). {too_big(task, 2)}")
    assert f"Model {MODEL.family} (" in message
    assert "width 32, layers 2" in message
    assert "batch_events 4 over 2 process(es), 2 events at once in each, zero 2, bf16" in message
    assert "Lower micro_events, set activation_checkpointing, raise zero" in message
    assert training().batch_events == 4


def test_memory_of_a_task_that_trains_nothing(tmp_path):
    task = ProbeTask(key="probe/made", seed=1, pretrained=tmp_path, store=tmp_path, split="test")
    told = classified(MemoryError("std::bad_alloc"), task).message
    assert told == "Out of memory (std::bad_alloc). Give it a node of more memory."


def test_a_full_disk_says_where(task):
    end = classified(OSError(errno.ENOSPC, "", "here/metrics.jsonl"), task, 2)
    assert (
        end.message
        == "No space left for here/metrics.jsonl. Free some, then run again: it resumes."
    )
