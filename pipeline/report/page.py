"""The page: everything that lies in the run folder, gathered and rendered."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline import __version__
from pipeline.campaign import Campaign, to_toml
from pipeline.clock import moment
from pipeline.downstream.literature import Literature
from pipeline.masking import masked
from pipeline.report import formats, published
from pipeline.report.datasets import view_datasets
from pipeline.report.divided import divided
from pipeline.report.evaluations import probes
from pipeline.report.grid import grids
from pipeline.report.hours import Spent, read_ledger
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
from pipeline.report.tasks import shares, view_tasks
from pipeline.report.unseen import cautions
from pipeline.run import Run
from pipeline.site import Site

TEMPLATES = Path(__file__).parent / "templates"


def render(
    run: Run,
    campaign: Campaign,
    site: Site,
    now: datetime,
    committed_node_hours: float | None = None,
) -> str:
    """Return the page of `run` as HTML that needs no other file and no network.

    `committed_node_hours` is the most that what is left may cost, None if nobody has planned it.
    """
    reader = Reader()
    rows, accounts = read_ledger(run, reader)
    tasks = view_tasks(run, campaign, reader, accounts)
    found = evaluations(tasks, campaign, reader)
    gathered = results(found)
    compared = sections(gathered, campaign)
    wholes = [each.whole for each in compared]
    probed = list(probes(tasks, reader))
    drawn_grids = list(grids(tasks, campaign))
    scaled = list(scalings(tasks))
    committed = 0.0 if all(task.state == "done" for task in tasks) else committed_node_hours
    spent = Spent(run, site, campaign.cap_node_hours, accounts, committed)
    content = {
        "version": __version__,
        "campaign": campaign,
        "site": site,
        "now": now,
        "environment": reader.table(run.environment),
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
        "gathered": gathered,
        "sections": compared,
        "results": wholes,
        "by_labels": label_plots(wholes),
        "pictures": pictures(gathered),
        "literature": _literature(compared, campaign),
        "caution": published.CAUTION,
        "score_columns": published.columns,
        "score_title": published.title,
        "galleries": list(galleries(gathered, run, reader)),
        "shares": shares(tasks),
        **spent.content(rows, reader, now),
        "datasets": view_datasets(campaign, run, reader),
        "campaign_toml": masked(to_toml(campaign)),
        "site_toml": to_toml(site),
        "cautions": cautions(tasks),
        "divided": divided(tasks),
        "problems": reader.problems,
    }
    return _environment().get_template("page.html.j2").render(content)


def _literature(found: Sequence[Section], campaign: Campaign) -> dict[str, Literature]:
    """Return what is published of each section by its name, but for a user's experiments."""

    def known(dataset: str | None) -> bool:
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
    )
    for each in filters:
        environment.filters[each.__name__] = each
    return environment
