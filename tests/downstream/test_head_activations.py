"""What heads keep in memory is as predicted, on heads that the tables were not made with."""

import pytest

torch = pytest.importorskip("torch")

from memory import heads
from memory.counting import kept, peak
from memory.page import NEW

from pipeline.downstream import TASKS
from pipeline.families.activations import of_head

BAND = 0.15


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are computed fastest so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_tables_are_of_all_tasks_of_ours():
    assert {*heads.SETTINGS} == {*TASKS} - {"custom"}


@pytest.mark.parametrize("task", heads.SETTINGS)
def test_parameters_what_is_kept_and_the_peak_are_as_predicted(task):
    case = heads.drawn(task, NEW)
    module, loss = case.system()
    expected = case.task.beside("activations").parameters(case.task, case.model)
    assert expected == sum(each.numel() for each in module.parameters())
    found = of_head(case.task, case.model, case.taken, "fp32")
    assert found.kept == pytest.approx(kept(module, case.batch, lambda: loss(case.batch)), rel=BAND)
    assert found.peak == pytest.approx(peak(module, loss, case.batch), rel=BAND)


@pytest.mark.parametrize("seed", range(NEW + 1, NEW + 9))
def test_parameters_of_every_pooling_are_those_of_the_head(seed):
    case = heads.drawn("jets", seed)
    module, _ = case.system()
    expected = case.task.beside("activations").parameters(case.task, case.model)
    assert expected == sum(each.numel() for each in module.parameters())


def test_a_task_of_the_users_is_not_known():
    custom = TASKS["custom"].model_construct(task="custom")
    case = heads.drawn("direction", NEW)
    assert of_head(custom, case.model, case.taken, "fp32") is None
