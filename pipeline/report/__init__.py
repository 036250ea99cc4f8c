"""Results, ledger and data of a run as one page that opens anywhere."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.campaign import Campaign
from pipeline.outcome import RunError
from pipeline.run import Run
from pipeline.site import Site
from pipeline.writing import write_text


def write_report(run: Run, campaign: Campaign, site: Site) -> Path:
    """Write the page of `run` and return its path; what is missing or damaged is said there.

    Raises:
        RunError: The libraries that draw are not installed.
        OSError: The report's folder cannot be written.
    """
    try:
        from pipeline.report.page import render
    except ModuleNotFoundError as error:
        message = f"The report needs {error.name}. Install it with: pip install 'cosmotron[report]'"
        raise RunError(message) from error
    write_text(run.page, render(run, campaign, site, now=datetime.now(UTC)))
    return run.page
