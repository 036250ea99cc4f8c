"""The verb sites init: a site file from what the scheduler at hand says of its cluster."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.screen import Project, fail, out, screen
from pipeline.outcome import Exit

if TYPE_CHECKING:
    from pipeline.planning.site_file import Choice
    from pipeline.scheduler import BatchSystem
    from pipeline.scheduler.cluster import Partition
    from pipeline.scheduler.node_probe import Devices


def sites_init(
    file: Annotated[Path, typer.Argument(help="The site file to write, such as mine.toml.")],
    partition: Annotated[
        str, typer.Option(help="Where trainings run: a partition, or a queue of PBS.")
    ] = "",
    project: Project = "",
    ask_node: Annotated[
        bool,
        typer.Option(
            "--ask-node",
            help="Ask a node for its devices too, by an srun of two minutes at most.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a site file of this cluster, from what its scheduler says.

    What it does not say is a commented line with where to ask. Then type `cosmotron sites check`
    with the file, which tries it.

    Example: `cosmotron sites init mine.toml --partition gpu`
    """
    from pipeline.catalog import parse, table
    from pipeline.planning import site_file
    from pipeline.scheduler import at_hand
    from pipeline.site import Site
    from pipeline.writing import write_text

    if file.suffix != ".toml":
        fail(f"{file}: a site file ends in .toml, such as mine.toml.", Exit.USAGE)
    if file.exists() and not force:
        fail(f"{file} is there already. Name another file, or overwrite it: --force.", Exit.USAGE)
    system = at_hand()
    with screen.status("asking the scheduler"):
        cluster = system.cluster()
        wanted = cluster.partition(partition)
        devices = _devices(system, wanted, project) if ask_node else None
    today = datetime.now(UTC).date()
    choice = site_file.Choice(file.stem, cluster, wanted, today, devices)
    written = site_file.text(choice)
    write_text(file, written)
    parse(Site, table(file))
    _report(file, choice, site_file.not_found(written))


def _devices(system: "BatchSystem", partition: "Partition", project: str) -> "Devices | None":
    """Return the devices of a node of the partition; None, with a message, if not known."""
    from pipeline.scheduler import SchedulerError, node_probe

    (kind, *_) = partition.kinds
    request = {
        "partition": partition.name,
        "constraint": kind.constraint,
        "account": project,
        "gpus-per-node": str(kind.gpus or ""),
    }
    try:
        found = node_probe.parse(system.on_node(node_probe.COMMAND, request))
    except SchedulerError as error:
        screen.print(f"No node was asked: {error}", markup=False, highlight=False, soft_wrap=True)
        return None
    if found is None:
        screen.print(f"A node of {partition.name} has neither nvidia-smi nor rocm-smi.")
    return found


def _report(file: Path, choice: "Choice", missing: list[str]) -> None:
    """Say what was found and what not, and what to type next."""
    cluster, kind = choice.cluster, choice.partition.kinds[0]
    devices = f"{kind.gpus} device(s)" if kind.gpus else f"{kind.cpus} CPUs"
    where = choice.partition.name
    out.print(
        f"Wrote {file}: {cluster.name} ({cluster.scheduler}), {len(cluster.partitions)} "
        f"partition(s) or queue(s), {len(cluster.qos)} QOS, {len(cluster.accounts)} account(s).\n"
        f"Trainings run in {where}: {kind.count} node(s) of {devices}, {kind.memory_gb} GB.\n"
        f"Not found, each a line with where to ask: {len(missing)}.\n"
        f"Read it, then try it: cosmotron sites check {file} --project YOURS --job",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
