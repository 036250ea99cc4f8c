"""What a failure of a pilot's task costs of its tries."""

import pytest

pytest.importorskip("parsl")

from parsl.app.errors import BashExitFailure
from parsl.executors.high_throughput.errors import ManagerLost

from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.workflow.pilots import MAX_CONTINUED, RETRIES, _retry_cost


@pytest.fixture
def folder(tmp_path):
    return TaskFolder(tmp_path / "tiny" / "finetune" / "m")


def cost(error, folder):
    return _retry_cost(error, {"kwargs": {"stdout": str(folder.logs / "run.log")}})


def test_a_lost_pilot_costs_one_try(folder):
    assert cost(ManagerLost(b"a", "nid1"), folder) == 1


def test_a_failure_of_the_program_is_not_tried_again(folder):
    assert cost(BashExitFailure("finetune", Exit.FAILED), folder) > RETRIES


def test_a_training_that_asks_for_more_gets_it_and_not_for_ever(folder):
    each = cost(BashExitFailure("finetune", Exit.CONTINUE), folder)
    assert each * MAX_CONTINUED == pytest.approx(RETRIES)


@pytest.mark.parametrize("whole_run", [True, False])
def test_a_training_that_was_ordered_to_stop_is_not_begun_again(folder, whole_run):
    order = folder.run_stop if whole_run else folder.stop
    order.parent.mkdir(parents=True)
    order.touch()
    assert cost(BashExitFailure("finetune", Exit.CONTINUE), folder) > RETRIES
