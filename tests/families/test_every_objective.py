"""Every objective of a batch is that of its parts: so no split of a training changes it."""

import pytest

torch = pytest.importorskip("torch")

from every_objective import CASES, EVENTS, exception
from made_batches import part

from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.nn.collectives import Collectives, connect, prepare

PARTS = ([2], [7, 0, 4], [1, 3, 5, 6])


def losses_of(case, batches):
    """The loss of each part of a batch in training, and how many terms it is a mean over."""
    system = case.system()
    connect(system.module.train(), Collectives())
    prepare(system.module, batches)
    losses = [system.objective(system.module(batch), batch)[0].detach() for batch in batches]
    terms = [system.objective.terms(batch)[0] for batch in batches]
    return list(zip((loss.double() for loss in losses), terms, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_a_batch_is_the_mean_of_its_parts_random_numbers_and_all(name):
    whole = CASES[name].batch(4)
    [(expected, terms)] = losses_of(CASES[name], [whole])
    parts = losses_of(CASES[name], [part(whole, events) for events in PARTS])
    assert sum(count for _, count in parts) == terms
    found = sum(loss * count for loss, count in parts) / terms
    if exception(name):
        assert found != pytest.approx(expected, rel=1e-5), "it is no exception any more"
    else:
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_parts_are_all_events_and_the_cases_all_objectives():
    assert sorted(event for events in PARTS for event in events) == list(range(EVENTS))
    learnt = {**FAMILIES, **TOKENIZERS}
    known = {(case.model.family, *case.model.objectives) for case in CASES.values()}
    wanted = {(name, each) for name, spec in learnt.items() for each in spec.OBJECTIVES}
    assert {each for each in wanted if each[0] != "custom"} == known
