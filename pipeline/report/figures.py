"""The figures of the page as files for papers and slides: PDF, SVG, and CSV of what they show."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.campaign import Campaign
from pipeline.drawing.figure import StyleName, style, styled_as
from pipeline.drawing.values import as_csv, values_of
from pipeline.report.page import content_of
from pipeline.report.sections import Plot
from pipeline.run import Run
from pipeline.site import Site
from pipeline.writing import all_written

FORMS = ("pdf", "svg")
METADATA: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def write_figures(
    run: Run,
    campaign: Campaign,
    site: Site,
    folder: Path,
    *,
    named: StyleName = "plain",
    others: Sequence[tuple[Run, Site]] = (),
    done: Callable[[int, int], object] = lambda *_: None,
) -> list[Path]:
    """Write each figure of the page into `folder`, and return the PDF files.

    `done` is told how many of how many are written. A file that is there is replaced.

    Raises:
        OSError: The folder cannot be written; no file of the figure at hand is left then.
    """
    with styled_as(named):
        found = list(plots_of(content_of(run, campaign, site, datetime.now(UTC), None, others)))
        paths = []
        for number, (name, plot) in enumerate(_named(found).items(), 1):
            paths.append(_write(folder / name, plot))
            done(number, len(found))
    return paths


def plots_of(content: object) -> Iterator[Plot]:
    """Yield the figures in what the page shows, at any depth, each once."""
    found = {id(each): each for each in _inside(content)}
    yield from found.values()


def _inside(value: object) -> Iterator[Plot]:
    """Yield the figures in mappings, sequences and dataclasses."""
    if isinstance(value, Plot):
        yield value
        return
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, each.name) for each in dataclasses.fields(value))
    for each in parts:
        yield from _inside(each)


def _named(plots: Sequence[Plot]) -> dict[str, Plot]:
    """Return figures by the names of their files, of one title by number."""
    found: dict[str, Plot] = {}
    known: Counter[str] = Counter()
    for plot in plots:
        known[plot.name] += 1
        found[plot.name if known[plot.name] == 1 else f"{plot.name}-{known[plot.name]}"] = plot
    return found


def _write(path: Path, plot: Plot) -> Path:
    """Write one figure, its files together or none; return the PDF."""
    wanted = [path.with_name(f"{path.name}.{form}") for form in (*FORMS, "csv")]
    with all_written(wanted) as files, style():
        for form, file in zip(FORMS, files, strict=False):
            plot.figure.savefig(file, format=form, bbox_inches="tight", metadata=METADATA[form])
        files[-1].write_text(as_csv(values_of(plot.figure)))
    return wanted[0]
