"""Scaling laws on the page, of a grid that is made up by a known law."""

import re

import numpy as np
import pytest
from made_results import probed

from pipeline.campaign import Campaign
from pipeline.records import Trained
from pipeline.report import write_report
from pipeline.report.reader import Reader
from pipeline.report.scaling import scaling_chart, scalings
from pipeline.report.tasks import view_tasks

WIDTHS = (32, 128, 512, 2048)
EVENTS = (100, 1000, 10_000, 100_000)


@pytest.fixture
def grid(fresh, campaign):
    """Four models on four data sizes, probed: L = 0.5 + 40/N^0.4 + 2/D^0.3, to a per cent."""
    declared = campaign.model_dump()
    model = declared["models"].pop("m0")
    declared["models"] = {f"m{width}": {**model, "width": width} for width in WIDTHS}
    declared["pretrain"] |= {"models": list(declared["models"]), "events": list(EVENTS)}
    declared["probe"] = {"heldout": {"dataset": "unlabelled", "split": "train"}}
    declared["finetune"] = {}
    asked = Campaign.model_validate(declared)
    rng = np.random.default_rng(5)
    tasks = asked.tasks(fresh)
    models = {each.key: each for each in tasks if each.stage == "pretrain"}
    for task in tasks:
        if task.stage != "probe":
            continue
        parent = next(models[key] for key in task.needs if key in models)
        n, d = parent.model.parameters().total, parent.events
        loss = (0.5 + 40 / n**0.4 + 2 / d**0.3) * np.exp(rng.normal(0, 0.01))
        fresh.task(task.key).finish(probed(loss, pretraining_events=d))
    return fresh, asked


def view_of(run, asked):
    (view,) = scalings(view_tasks(run, asked, Reader(), []))
    return view


def test_the_laws_of_a_grid_stand_on_the_page(grid, site):
    page = write_report(*grid, site).read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>", 1)[1]))
    assert "heldout, fm4npp-mamba2 16 models, held-out losses" in words
    for law in ("L(N)", "L(D)", "L(N, D)", "Chinchilla"):
        assert re.search(re.escape(law) + r" \S+ [\d.e+]+ \(", words), law
    assert "αN 0.076" in words  # what was published stands beside


def test_the_law_is_found_again(grid):
    view = view_of(*grid)
    found = next(each for each in view.fits if each.law == "Chinchilla")
    assert found.scatter < 0.02
    exponent = found.constants["β"]
    assert exponent.low < 0.3 < exponent.high
    assert "<svg" not in str(scaling_chart(view))


def test_too_few_sizes_say_so(grid):
    run, asked = grid
    fewer = asked.pretrain.model_copy(update={"models": ("m32", "m128")})
    view = view_of(run, asked.model_copy(update={"pretrain": fewer}))
    assert view.refused["L(N)"] == "2 model sizes, at least 4 are needed for a law"
    assert [each.law for each in view.fits] == ["L(D)"]


def test_one_model_on_one_size_is_no_scaling(grid):
    run, asked = grid
    one = asked.pretrain.model_copy(update={"models": ("m32",), "events": (1000,)})
    tasks = view_tasks(run, asked.model_copy(update={"pretrain": one}), Reader(), [])
    assert list(scalings(tasks)) == []


def test_a_loss_without_logarithm_is_told(grid, site):
    run, asked = grid
    task = next(each for each in asked.tasks(run) if each.stage == "probe")
    run.task(task.key).finish(probed(-1.0))
    page = write_report(run, asked, site).read_text()
    assert "loss: measurement 0 is -1.0; it has no logarithm" in page


def test_the_best_trade_for_ten_times_the_compute_stands_on_the_page(grid, site):
    view = view_of(*grid)
    n, d = view.trades["Chinchilla"]
    assert n * d == pytest.approx(10 * view.measured.parameters.max() * EVENTS[-1], rel=0.01)
    page = write_report(*grid, site).read_text()
    assert "Chinchilla has the least loss at" in re.sub(r"\s+", " ", page)


def test_validated_trainings_have_laws_of_their_least_losses(grid):
    run, asked = grid
    for task in asked.tasks(run):
        if task.stage == "pretrain":
            loss = 3 * task.events**-0.1
            run.task(task.key).finish(Trained(best_validation_loss=loss))
    views = {each.name: each for each in scalings(view_tasks(run, asked, Reader(), []))}
    view = views["validation, each at its least, fm4npp-mamba2"]
    law = next(each for each in view.fits if each.law == "L(D)")
    assert law.constants["αD"].value == pytest.approx(0.1, rel=0.01)


def test_a_model_of_ones_own_has_the_law_of_what_its_training_counted(fresh, campaign, tmp_path):
    """Though its file is gone, as from a run that was moved."""
    file = tmp_path / "mine.py"
    file.write_text("build = loss = print\n")
    declared = campaign.model_dump()
    mine = {"family": f"{file}:build", "columns": ["eta"], "objectives": {"loss": 1.0}}
    declared["models"] = {"mine": mine}
    validation = {"split": "val", "events": 8}
    declared["pretrain"] |= {"models": ["mine"], "events": list(EVENTS), "validation": validation}
    declared["finetune"] = declared["probe"] = {}
    asked = Campaign.model_validate(declared)
    for task in asked.tasks(fresh):
        if task.stage == "pretrain":
            loss = 2 / task.events**0.3
            result = Trained(weights_sha256="0" * 64, parameters=123, best_validation_loss=loss)
            fresh.task(task.key).finish(result)
    tasks = view_tasks(fresh, asked, Reader(), [])
    file.unlink()
    (view,) = scalings(tasks)
    assert view.measured.parameters.tolist() == [123] * 4
    (law,) = view.fits
    assert law.constants["αD"].value == pytest.approx(0.3, abs=1e-3)
