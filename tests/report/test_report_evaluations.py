"""Probes of pretrained models on the page."""

import re

import made_results
import numpy as np
import pytest

from pipeline import records
from pipeline.campaign import Campaign
from pipeline.evaluation.result import EvaluationResult, Histogram, histogram
from pipeline.records import Evaluated, PredictionsFile
from pipeline.report import write_report
from pipeline.report.evaluations import histograms_chart


def look():
    rng = np.random.default_rng(1)
    true, made = rng.normal(size=500), rng.normal(0.3, 1, 500)
    return EvaluationResult(
        {"skill": 0.41},
        {"skill": (0.4, 0.42)},
        {"skill": "1 is perfect"},
        [histogram("jet mass", true, made, unit="GeV"), histogram("tracks", true, made)],
    )


@pytest.fixture
def probed(whole, campaign):
    """A finished run with one probe more."""
    declared = campaign.model_dump()
    declared["probe"] = {"heldout": {"dataset": "unlabelled", "split": "train"}}
    asked = Campaign.model_validate(declared)
    (task,) = (each for each in asked.tasks(whole) if each.stage == "probe")
    folder = whole.task(task.key)
    scores, intervals = look().numbers
    folder.finish(
        made_results.probed(
            0.25,
            losses={"loss": 0.25, "neighbours": 0.25},
            scores=scores,
            intervals=intervals | {"loss": (0.2, 0.3), "neighbours": (0.2, 0.3)},
            about=look().about,
        )
    )
    records.write(folder.pictures, look().pictures)
    return asked, task


def test_losses_scores_and_histograms_stand_on_the_page(whole, site, probed):
    page = write_report(whole, probed[0], site).read_text()
    assert "Pretrained models, probed" in page
    assert "loss, held out" in page
    assert "neighbours loss" in page
    assert "0.4 – 0.42" in page
    assert "1 is perfect" in page
    assert "jet mass [GeV]" in page


def test_a_page_without_probes_has_no_such_section(whole, campaign, site):
    assert "probed" not in write_report(whole, campaign, site).read_text()


def test_damaged_pictures_are_reported_and_the_losses_stay(whole, site, probed):
    asked, task = probed
    whole.task(task.key).pictures.write_text("{")
    page = write_report(whole, asked, site).read_text()
    assert "pictures.json: damaged" in page
    assert "loss, held out" in page


def test_shares_are_of_all_values_and_ratios_of_filled_bins():
    told = Histogram("n", "1", edges=[0, 1, 2, 3], true=[2, 2, 0], made=[1, 3, 4])
    upper, lower = histograms_chart([told]).axes
    heights = [patch.get_data().values.tolist() for patch in upper.patches]  # type: ignore[attr-defined]
    assert heights == [[0.5, 0.5, 0.0], [0.125, 0.375, 0.5]]
    ratio = lower.lines[-1].get_ydata()
    np.testing.assert_allclose(ratio, [0.25, 0.75, np.nan])


def test_predictions_that_are_there_are_linked(whole, campaign, site):
    keys = [each.key for each in campaign.tasks(whole) if each.stage == "evaluate"][:2]
    known = PredictionsFile(file="predictions.parquet", bytes=1_234_567, sha256="5e" * 32)
    for key in keys:
        result = records.read(whole.task(key).result, Evaluated)
        whole.task(key).finish(result.model_copy(update={"predictions": known}))
    whole.task(keys[0]).predictions.write_bytes(b"of every event")
    page = write_report(whole, campaign, site).read_text()
    (link,) = re.findall(r'<a href="([^"]+)" download>predictions</a>, 1.23 MB', page)
    assert (whole.report / link).resolve() == whole.task(keys[0]).predictions.resolve()
