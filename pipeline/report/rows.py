"""The results of a run as rows: one for each finished evaluation, for a table of the reader's."""

from typing import Any

from pipeline.campaign import load_campaign
from pipeline.report.machines import Machine, gather
from pipeline.report.reader import Reader
from pipeline.report.scores import Evaluation, evaluations
from pipeline.run import Run


def rows(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each finished evaluation of `run`, and what could not be read.

    A score has its 68 % interval beside it, in `<score>_low` and `<score>_high`.

    Raises:
        DeclarationError: The campaign of the run cannot be read.
    """
    campaign, reader = load_campaign(str(run.declaration)), Reader()
    tasks = gather([Machine(run, "", "")], campaign, reader).tasks
    return [_row(each) for each in evaluations(tasks, campaign, reader)], reader.problems


def _row(each: Evaluation) -> dict[str, Any]:
    """Return what was evaluated, and its scores."""
    what, result = each.configuration, each.result
    row: dict[str, Any] = {
        "task": each.key,
        "model": what.model,
        "family": what.family,
        "pretraining_events": what.pretraining_events,
        "mode": what.mode,
        "labels": what.labels,
        "seed": what.seed,
        "split": result.split,
        "events": result.events,
        **result.scores,
    }
    for name, (low, high) in result.intervals.items():
        row |= {f"{name}_low": low, f"{name}_high": high}
    return row
