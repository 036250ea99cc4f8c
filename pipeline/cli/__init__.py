"""The command line: each verb is a function that reads its arguments and calls the room below."""

from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli import (
    archiving,
    budgeting,
    campaigns,
    comparing,
    data,
    forecasting,
    jobs,
    models,
    planning,
    predicting,
    purging,
    rehearsing,
    sites,
    stopping,
    stores,
    transferring,
    weights,
)
from pipeline.cli.screen import errors_reported
from pipeline.outcome import Exit

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Raw detector simulation to a scaling law, with every node-hour accounted for.\n\n"
    "Example: `cosmotron run quickstart --site local`",
)
app.add_typer(sites.app, name="sites")
app.add_typer(stores.app, name="data")
app.add_typer(weights.app, name="weights")
VERBS = (
    *(campaigns.run, planning.plan, campaigns.status, stopping.stop, jobs.cancel),
    *(jobs.logs, rehearsing.rehearse, forecasting.forecast, predicting.predict),
    *(budgeting.budget, campaigns.export, campaigns.report, campaigns.crate, campaigns.campaigns),
    *(
        comparing.compare,
        archiving.archive,
        archiving.restore,
        purging.touch,
        transferring.transfer,
        data.simulate,
        data.stage,
    ),
    models.models,
)
for verb in VERBS:
    app.command()(verb)


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        with errors_reported():
            app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return Exit.FINISHED


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
