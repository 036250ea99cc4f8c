"""How much disk the predictions of a plan's evaluations need, as far as it can be known."""

import pytest
from made_predictions import EVENTS, jet_store
from made_results import evaluated

from pipeline.campaign import EvaluateTask, FinetuneTask, load_campaign
from pipeline.downstream.jets.spec import JetTask
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.planning.prediction_sizes import Sizes, row_bytes, sizes
from pipeline.records import Evaluated, PredictionsFile
from pipeline.run import Run
from pipeline.site import load_site

CLASSES = 10


def planned(run, tasks=None):
    """The plan of the quickstart, or of `tasks`, and its campaign."""
    campaign = load_campaign("quickstart")
    tasks = campaign.tasks(run) if tasks is None else tasks
    return make_plan(tasks, run, load_site("local"), RunOptions()), campaign


def of_jets(run, store):
    """The tasks of the quickstart that fine-tune and evaluate once, on jets of `store`."""
    tasks = load_campaign("quickstart").tasks(run)
    tuned = next(each for each in tasks if isinstance(each, FinetuneTask))
    scored = next(each for each in tasks if isinstance(each, EvaluateTask))
    on_jets = {"store": store, "split": "test"}
    return [
        tuned.model_copy(update={**on_jets, "head": JetTask(), "needs": ()}),
        scored.model_copy(update={**on_jets, "needs": (tuned.key,)}),
    ]


def test_a_row_has_an_id_an_entry_a_prediction_and_the_truth():
    assert row_bytes(JetTask()) == (24 + 4 * CLASSES + 4, 0)
    per_event, per_point = row_bytes(TrackTask())
    assert (per_event, per_point) == (24 + 4 * 4, 8 + 4 + 4 + 4)


def test_of_what_is_not_staged_nothing_is_known_but_what_is_declared(tmp_path):
    run = Run(tmp_path, "quickstart")
    assert sizes(*planned(run)) == Sizes(0, 0, 3)
    campaign = load_campaign("quickstart")
    jets = JetTask()
    tasks = [
        each.model_copy(update={"head": jets}) if isinstance(each, FinetuneTask) else each
        for each in campaign.tasks(run)
    ]
    found = sizes(planned(run, tasks)[0], campaign)
    assert found == Sizes(3 * 125 * row_bytes(jets)[0], 3, 0), "125 simulated events"


def test_a_store_says_how_many_events(tmp_path):
    run = Run(tmp_path, "quickstart")
    plan, campaign = planned(run, of_jets(run, jet_store(tmp_path / "jets.zarr")))
    found = sizes(plan, campaign)
    assert found == Sizes(EVENTS * row_bytes(JetTask())[0], 1, 0)
    (line,) = found.lines
    assert line == "The predictions of every evaluated event need at most 612 kB in 1 files."


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_done_says_it_itself(tmp_path, kept):
    run = Run(tmp_path, "quickstart")
    tasks = of_jets(run, jet_store(tmp_path / "jets.zarr"))
    known = PredictionsFile(file="predictions.parquet", bytes=77, sha256="5e" * 32)
    result: Evaluated = evaluated({"ari": 0.5}, predictions=known if kept else None)
    run.task(tasks[1].key).finish(result)
    found = sizes(*planned(run, tasks))
    assert found.bytes == (77 if kept else EVENTS * row_bytes(JetTask())[0])


def test_the_sentence_says_what_is_not_known():
    assert Sizes(0, 0, 0).lines == Sizes(0, 0, 3).lines == []
    (words,) = Sizes(2_000_000, 2, 1).lines
    assert words.startswith("The predictions of every evaluated event need at most 2 MB in 2 files")
    assert words.endswith("Of 1 more it is known once their data are staged.")
