"""A site as a page of text: nodes, queues, charges, file systems, and unconfirmed facts."""

from collections.abc import Iterator

from rich.table import Table

from pipeline.site import Charge, Qos, Site


def page(site: Site) -> Iterator[str | Table]:
    """Yield the parts of the page in order: lines of text, and tables."""
    here = " (this machine)" if site.here else ""
    yield f"{site.title}, as of {site.as_of}: {site.scheduler}, {site.accelerator}{here}"
    for title, table in (
        ("Nodes", nodes(site)),
        ("Queues", queues(site)),
        ("Walltime by size, unless a queue has its own", bins(site)),
        ("File systems", file_systems(site)),
    ):
        if table.row_count:
            yield f"\n{title}"
            yield table
    yield ""
    yield from facts(site)
    doubts = [*unconfirmed(site)]
    if doubts:
        yield "\nNotes and unconfirmed facts"
        yield from (f"  {each}" for each in doubts)
    if site.sources:
        yield "\nSources"
        yield from (f"  {each}" for each in site.sources)


def nodes(site: Site) -> Table:
    """Return the kinds of node, one row each."""
    from pipeline.scheduler import batch_system

    table = _table("name", "count", "devices", "memory", "requested by")
    request = batch_system(site).node_request
    for name, node in site.nodes.items():
        of = f" of {node.device_memory_gb} GB" if node.device_memory_gb else ""
        memory = f"{node.memory_gb} GB" if node.memory_gb else ""
        count = str(node.count or "")
        table.add_row(name, count, f"{node.devices}{of}", memory, request(node))
    return table


def queues(site: Site) -> Table:
    """Return the queues, one row each; a star marks those of the trainings."""
    table = _table("queue", "walltime", "nodes", "jobs", "chains", "charge (× node-hours)")
    for name, queue in site.qos.items():
        star = " *" if name in (site.training.qos, *site.training.alternatives) else ""
        chains = "yes" if queue.chaining else "forbidden"
        charge = "\n".join(_charge(each) for each in queue.charge)
        table.add_row(name + star, _walltime(queue), _nodes(queue), _jobs(queue), chains, charge)
    return table


def _walltime(queue: Qos) -> str:
    least = f"{duration(queue.min_minutes)} to " if queue.min_minutes else ""
    by_size = [
        f"{each.min_nodes} to {each.max_nodes} nodes: {duration(each.max_minutes)}"
        for each in queue.bins
    ]
    return "\n".join([least + duration(queue.max_minutes), *by_size])


def _nodes(queue: Qos) -> str:
    if queue.max_nodes is None and queue.min_nodes is None:
        return ""
    return f"{queue.min_nodes or 1} to {queue.max_nodes or 'all'}"


def _jobs(queue: Qos) -> str:
    limits = {"submitted": queue.submitted_jobs, "running": queue.running_jobs}
    return ", ".join(f"{count} {word}" for word, count in limits.items() if count)


def _charge(charge: Charge) -> str:
    """Return one charge of a charge in words."""
    when = [f"from {charge.from_nodes} nodes"] if charge.from_nodes > 1 else []
    when += [f"after {duration(charge.after_minutes)}"] if charge.after_minutes else []
    when += [f"on {', '.join(charge.nodes)}"] if charge.nodes else []
    when += [] if charge.confirmed else ["unconfirmed"]
    return f"{charge.factor:g} {', '.join(when)}".rstrip()


def bins(site: Site) -> Table:
    """Return the site's own bins, one row each."""
    table = _table("nodes", "walltime")
    for each in site.bins:
        table.add_row(f"{each.min_nodes} to {each.max_nodes}", duration(each.max_minutes))
    return table


def file_systems(site: Site) -> Table:
    """Return the file systems, one row each."""
    table = _table("name", "at", "runs", "locks", "purge", "quota")
    for name, each in site.file_systems.items():
        runs, locks = ("yes" if fact else "no" for fact in (each.for_runs, each.locks))
        purge = f"{each.purge_days} days" if each.purge_days else ""
        table.add_row(name, each.root, runs, locks, purge, each.quota_command)
    return table


def facts(site: Site) -> Iterator[str]:
    """Yield the facts that fit no table, one line each."""
    eligible = f", {site.eligible_jobs} of them eligible" if site.eligible_jobs else ""
    yield f"Jobs per user in all queues: at most {site.submitted_jobs}{eligible}"
    yield f"Signal to save: {site.signal_lead_seconds} s before the walltime"
    yield f"Run folders: {site.scratch}"
    if site.balance_command:
        yield f"Balance: {site.balance_command}"
    if site.modules:
        yield f"Modules: {' '.join(site.modules)}"
    if site.network_plugin:
        yield f"Network between nodes: {site.network_plugin}"
    if site.container is not None:
        yield f"Images: {' '.join(site.container.run)}"


def unconfirmed(site: Site) -> Iterator[str]:
    """Yield the notes on queues, charges and file systems, one line each."""
    for name, queue in site.qos.items():
        if queue.note:
            yield f"{name}: {queue.note}"
        for charge in queue.charge:
            if charge.note or not charge.confirmed:
                yield f"{name}, {_charge(charge)}: {charge.note or 'no second source'}"
    for name, each in site.file_systems.items():
        if each.note:
            yield f"{name}: {each.note}"


def duration(minutes: int) -> str:
    """Return minutes as text: 90 is "1.5 h"."""
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:g} h"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)
