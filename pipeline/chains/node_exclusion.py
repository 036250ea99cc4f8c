"""Nodes on which links failed: the next links avoid them for a while.

A few nodes cause most failures: of 63 nodes, 3 more than half (arXiv 2605.09370). Which node of a
job was at fault is seldom known, so a node of a larger job is excluded after the second failure.
"""

from collections import Counter
from collections.abc import Sequence

from pipeline import clock
from pipeline.outcome import named
from pipeline.run import Run
from pipeline.writing import create_json, read_json

EXPIRY_SECONDS = 24 * 3600
SMALLEST_SHARE = 20  # at most one node in so many of the machine's is excluded


def note(run: Run, job_id: str, outcome: str, nodes: Sequence[str]) -> None:
    """Record once that a job on `nodes` ended with `outcome`, if that may be a node's fault."""
    if named(outcome).elsewhere and nodes:
        what = {"outcome": outcome, "nodes": list(nodes), "time": clock.time()}
        create_json(run.node_failures / f"{job_id}.json", what)


def excluded(run: Run, count: int | None) -> tuple[str, ...]:
    """Return the nodes that the next jobs avoid, those with the most failures first.

    `count` is how many nodes of the kind there are; where it is not known at most one is excluded.
    """
    since = clock.time() - EXPIRY_SECONDS
    points: Counter[str] = Counter()
    for path in sorted(run.node_failures.glob("*.json")):
        failure = read_json(path)
        if failure is not None and failure["time"] >= since:
            nodes = failure["nodes"]
            points.update(dict.fromkeys(nodes, 2 if len(nodes) == 1 else 1))
    failed = [node for node, total in points.most_common() if total >= 2]
    return tuple(failed[: max(1, (count or 0) // SMALLEST_SHARE)])
