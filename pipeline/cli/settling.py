"""What verbs do before they show the ledger: ask accounting, and find lost records again."""

from typing import TYPE_CHECKING

from pipeline.cli.screen import escaped, screen

if TYPE_CHECKING:
    from pipeline.chains.job_manager import JobManager
    from pipeline.run import Run
    from pipeline.site import Site


def _manager(run: "Run", site: "Site") -> "JobManager":
    """Return what asks the scheduler of `site` about the jobs of `run`."""
    from pipeline.chains.job_manager import JobManager
    from pipeline.planning.plan import RunOptions, make_plan
    from pipeline.scheduler import connect

    return JobManager(make_plan((), run, site, RunOptions("")), connect(site, run))


def settled(run: "Run", site: "Site") -> None:
    """Bring the ledger of `run` up to accounting; say so if that does not answer."""
    from pipeline.chains.settlement import settle_all

    if not run.ledger.is_dir():
        return
    found = settle_all(_manager(run, site))
    if found.problem:
        screen.print(f"The ledger is not settled: {escaped(found.problem)}", soft_wrap=True)


def restored(run: "Run", site: "Site") -> None:
    """Find again what lost records of the ledger said, and say what was lost."""
    from pipeline.chains.settlement import restore

    lost, found = restore(_manager(run, site))
    screen.print(
        f"{run.ledger}: {len(lost.numbers)} record(s) were lost, {len(lost.damaged)} of them "
        f"damaged (now in damaged/). {found} job(s) were found again.",
        highlight=False,
        soft_wrap=True,
    )
