"""The page: everything that lies in the run folder, gathered and rendered."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline import __version__
from pipeline.campaign import Campaign, to_toml
from pipeline.clock import moment
from pipeline.data.space import size
from pipeline.downstream.literature import Literature
from pipeline.masking import masked
from pipeline.report import formats, published
from pipeline.report.contents import with_contents
from pipeline.report.datasets import view_datasets
from pipeline.report.divided import divided
from pipeline.report.evaluations import probes
from pipeline.report.gains import comparisons
from pipeline.report.grid import grids
from pipeline.report.hours import Spent
from pipeline.report.hours import content as hours
from pipeline.report.machines import Together, gather, labelled
from pipeline.report.reader import Reader
from pipeline.report.results import Section, results, sections
from pipeline.report.scaling import PUBLISHED, scalings
from pipeline.report.scores import evaluations
from pipeline.report.sections import (
    galleries,
    grid_plots,
    label_plots,
    losses,
    paces,
    pictures,
    probe_plots,
    scaling_plots,
)
from pipeline.report.tasks import TaskView, shares
from pipeline.report.unseen import cautions
from pipeline.run import Run
from pipeline.site import Site

TEMPLATES = Path(__file__).parent / "templates"


def render(content: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """Return the page of what `content_of` returns: HTML that needs no other file, no network."""
    return with_contents(_environment().get_template(template).render(content))


def content_of(
    run: Run,
    campaign: Campaign,
    site: Site,
    now: datetime,
    committed_node_hours: float | None = None,
    others: Sequence[tuple[Run, Site]] = (),
) -> dict[str, Any]:
    """Return what the page of `run` shows, by the names that its templates have for it.

    `committed_node_hours` is the most that what is left may cost, None if nobody has planned it.
    With `others` the page is of the campaign as it ran here and in those runs.
    """
    reader = Reader()
    everywhere = [(run, site), *others]
    together = gather(labelled(everywhere), campaign, reader)
    tasks = together.tasks
    probed = list(probes(tasks, reader))
    drawn_grids = list(grids(tasks, campaign))
    scaled = list(scalings(tasks))
    committed = 0.0 if all(task.state == "done" for task in tasks) else committed_node_hours
    spent = _spent(together, everywhere, campaign, committed)
    return {
        "version": __version__,
        "campaign": campaign,
        "site": site,
        "now": now,
        "machines": together.machines if others else (),
        "notes": together.notes,
        "environment": _environments(together, reader),
        "tasks": tasks,
        "states": Counter(task.state for task in tasks),
        "losses": losses(tasks, reader),
        "paces": paces(tasks),
        "probes": probed,
        "probe_plots": probe_plots(probed),
        "grids": drawn_grids,
        "grid_plots": grid_plots(drawn_grids, reader),
        "scalings": scaled,
        "scaling_plots": scaling_plots(scaled),
        "published": PUBLISHED,
        "from_page": lambda path: quote(os.path.relpath(path, run.report)),
        **_results(tasks, campaign, reader),
        "shares": shares(tasks),
        **hours(spent, reader, now),
        "datasets": view_datasets(campaign, [each.run for each in together.machines], reader),
        "campaign_toml": masked(to_toml(campaign)),
        "site_toml": "\n\n".join(to_toml(each) for _, each in everywhere),
        "cautions": cautions(tasks),
        "divided": divided(tasks),
        "problems": reader.problems,
    }


def _results(tasks: Sequence[TaskView], campaign: Campaign, reader: Reader) -> dict[str, Any]:
    """Return what the page shows of the evaluations."""
    gathered = results(evaluations(tasks, campaign, reader))
    compared = sections(gathered, campaign)
    wholes = [each.whole for each in compared]
    return {
        "gathered": gathered,
        "sections": compared,
        "results": wholes,
        "by_labels": label_plots(wholes),
        "gains": {each.name: list(comparisons(each)) for each in wholes},
        "pictures": pictures(gathered),
        "literature": _literature(compared, campaign),
        "caution": published.CAUTION,
        "score_columns": published.columns,
        "score_title": published.title,
        "galleries": list(galleries(gathered, {each.key: each.folder for each in tasks}, reader)),
    }


def _spent(
    together: Together,
    everywhere: Sequence[tuple[Run, Site]],
    campaign: Campaign,
    committed: float | None,
) -> list[Spent]:
    """Return the node-hours of each machine; the cap is that of a single one."""
    alone = len(everywhere) == 1
    cap = campaign.cap_node_hours if alone else None
    return [
        Spent(run, site, cap, together.accounts_of[machine.label], committed)
        for (run, site), machine in zip(everywhere, together.machines, strict=True)
    ]


def _environments(together: Together, reader: Reader) -> dict[str, Any]:
    """Return the environment of the last controller; of several machines by their labels."""
    found = {each.label: reader.table(each.run.environment) for each in together.machines}
    return found if len(found) > 1 else next(iter(found.values()))


def _literature(found: Sequence[Section], campaign: Campaign) -> dict[str, Literature]:
    """Return what is published of each section by its name, but for a user's experiments."""

    def known(dataset: str | None) -> bool:
        """Return whether a dataset is of an experiment that others publish on."""
        return dataset not in campaign.datasets or ":" not in campaign.datasets[dataset].experiment

    tasks = {each.whole.name: each.whole.task for each in found if known(each.dataset)}
    beside = {name: task.beside("published") for name, task in tasks.items()}
    return {name: module.LITERATURE for name, module in beside.items() if module is not None}


def _environment() -> Environment:
    """Return the templates, with our way of writing numbers."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        formats.number,
        formats.score,
        formats.short,
        formats.duration,
        moment,
        published.printed,
        size,
    )
    for each in filters:
        environment.filters[each.__name__] = each
    return environment
