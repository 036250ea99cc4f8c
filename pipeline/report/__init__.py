"""Results, ledger and data of a run as one page that opens anywhere."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.campaign import Campaign
from pipeline.outcome import RunError
from pipeline.run import Run
from pipeline.site import Site
from pipeline.writing import write_text


def write_report(
    run: Run,
    campaign: Campaign,
    site: Site,
    committed_node_hours: float | None = None,
    others: Sequence[tuple[Run, Site]] = (),
) -> Path:
    """Write the page of `run` and return its path; what is missing or damaged is said there.

    `committed_node_hours` is the most that what is left may cost, None if nobody has planned it.
    With `others` it is the page of the campaign in all these runs, beside that of the first.

    Raises:
        RunError: The libraries that draw are not installed.
        OSError: The report's folder cannot be written.
    """
    try:
        from pipeline.report.page import content_of, render
    except ModuleNotFoundError as error:
        message = f"The report needs {error.name}. Install it with: pip install 'cosmotron[report]'"
        raise RunError(message) from error
    page = run.report / "together.html" if others else run.page
    now = datetime.now(UTC)
    content = content_of(run, campaign, site, now, committed_node_hours, others)
    write_text(page, render(content))
    return page
