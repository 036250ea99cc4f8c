"""What a job costs: node-hours as the site charges them, piece by piece."""

from pipeline.site import Role, Site

SECONDS_PER_HOUR = 3600


def node_hours(site: Site, role: Role, *, nodes: float, seconds: float) -> float:
    """Return the node-hours that `site` charges for `nodes` nodes during `seconds`.

    nodes × hours × factor, the factor by size and by time: of the queue's pieces for such nodes,
    those of the greatest `from_nodes` not above `nodes` apply, each from its `after_minutes` until
    the next.
    What no piece covers is charged in full. The pieces are the site's policy page, in its TOML.

    Perlmutter's preempt charges two hours in full and the rest at a quarter: 16 nodes for five
    hours cost 16 × (2 × 1 + 3 × 0.25) = 44 node-hours, not 80.

    Args:
        site: The machine, with its queues.
        role: Whose queue is used; no queue means full charge.
        nodes: The nodes held; a fraction where jobs share a node.
        seconds: From the job's start to its end, or the walltime asked for.

    Raises:
        ValueError: `nodes` or `seconds` is negative.
    """
    if nodes < 0 or seconds < 0:
        message = f"{site.name}: {nodes} nodes for {seconds} s cannot be charged; both must be ≥ 0."
        raise ValueError(message)
    pieces = _pieces(site, role, nodes)
    ends = [after for after, _ in pieces[1:]] + [float("inf")]
    charged_seconds = sum(
        factor * max(0.0, min(seconds, end) - after)
        for (after, factor), end in zip(pieces, ends, strict=True)
    )
    return nodes * charged_seconds / SECONDS_PER_HOUR


def _pieces(site: Site, role: Role, nodes: float) -> list[tuple[float, float]]:
    """Return (seconds from which it holds, factor) of each piece, from second 0 on."""
    charges = site.qos[role.qos].charge if role.qos else ()
    fitting = [
        charge
        for charge in charges
        if charge.from_nodes <= max(nodes, 1) and role.node in (charge.nodes or (role.node,))
    ]
    size = max((charge.from_nodes for charge in fitting), default=1)
    factors = {c.after_minutes * 60.0: c.factor for c in fitting if c.from_nodes == size}
    return sorted({0.0: 1.0, **factors}.items())
