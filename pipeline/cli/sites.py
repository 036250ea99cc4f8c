"""The verbs for sites: list, show, check and init."""

import json
from typing import Annotated

import typer
from rich.table import Table

from pipeline.catalog import find, names
from pipeline.cli import completion
from pipeline.cli.checking import sites_check
from pipeline.cli.screen import AsJson, out
from pipeline.cli.site_init import sites_init
from pipeline.cli.site_page import page
from pipeline.site import SHELF, load_site

app = typer.Typer(no_args_is_help=True, help="Machines: list, show and check, and declare yours.")
app.command("check")(sites_check)
app.command("init")(sites_init)


@app.command("list")
def sites_list(as_json: AsJson = False) -> None:
    """List the declared machines.

    Example: `cosmotron sites list`
    """
    known = [load_site(name) for name in names(SHELF)]
    if as_json:
        typer.echo(json.dumps([site.model_dump(mode="json") for site in known], indent=2))
        return
    columns = ("site", "", "scheduler", "devices", "nodes", "queues", "as of", "here")
    table = Table(*columns, box=None, pad_edge=False)
    for site in known:
        node = site.nodes[site.training.node]
        devices = f"{node.devices} × {site.accelerator} per node"
        here = "yes" if site.here else ""
        count, queues = str(node.count or ""), ", ".join(site.qos)
        table.add_row(
            *(site.name, site.title, site.scheduler, devices),
            *(count, queues, str(site.as_of), here),
        )
    out.print(table)


@app.command("show")
def sites_show(
    site: Annotated[
        str,
        typer.Argument(
            help="A declared site, or a .toml file.",
            autocompletion=completion.sites,
        ),
    ],
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print its declaration, as a start for your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the declaration of a site: nodes, queues, charges, file systems, open questions.

    Example: `cosmotron sites show perlmutter`
    """
    shown = load_site(site)
    if as_toml:
        typer.echo(find(SHELF, site).read_text(), nl=False)
    elif as_json:
        typer.echo(shown.model_dump_json(indent=2))
    else:
        for part in page(shown):
            out.print(part, markup=False, highlight=False)
