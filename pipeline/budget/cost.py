"""The cost of a job: node-hours as the site charges them."""

from pipeline.site import Role, Site

SECONDS_PER_HOUR = 3600


def node_hours(site: Site, role: Role, *, nodes: float, seconds: float) -> float:
    """Return the node-hours that `site` charges for `nodes` nodes during `seconds`.

    Example: Perlmutter's preempt charges two hours in full and the rest at a quarter, so 16 nodes
    for five hours cost 16 × (2 × 1 + 3 × 0.25) = 44 node-hours, not 80.

    The cost is nodes × hours × factor. Of the queue's charges for such nodes, those with the
    greatest `from_nodes` not above `nodes` apply, each from its `after_minutes` until the next.
    Time that no charge covers costs the full price. The charges follow the site's policy page.

    Args:
        site: The machine, with its queues.
        role: The queue and node class of the job; no queue means the full price.
        nodes: The nodes held; a fraction where jobs share a node.
        seconds: From the job's start to its end, or its walltime.

    Raises:
        ValueError: `nodes` or `seconds` is negative.
    """
    if nodes < 0 or seconds < 0:
        message = f"{site.name}: {nodes} nodes for {seconds} s cannot be charged; both must be ≥ 0."
        raise ValueError(message)
    charges = _charges(site, role, nodes)
    ends = [after for after, _ in charges[1:]] + [float("inf")]
    charged_seconds = sum(
        factor * max(0.0, min(seconds, end) - after)
        for (after, factor), end in zip(charges, ends, strict=True)
    )
    return nodes * charged_seconds / SECONDS_PER_HOUR


def _charges(site: Site, role: Role, nodes: float) -> list[tuple[float, float]]:
    """Return (first second, factor) of each charge, from second 0."""
    charges = site.qos[role.qos].charge if role.qos else ()
    fitting = [
        charge
        for charge in charges
        if charge.from_nodes <= max(nodes, 1) and role.node in (charge.nodes or (role.node,))
    ]
    size = max((charge.from_nodes for charge in fitting), default=1)
    factors = {c.after_minutes * 60.0: c.factor for c in fitting if c.from_nodes == size}
    return sorted({0.0: 1.0, **factors}.items())
