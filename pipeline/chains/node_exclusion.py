"""Nodes on which links failed: the next links avoid them for a while.

A few nodes cause most failures: of 63 nodes, 3 more than half (arXiv 2605.09370). Which node of a
job was at fault is seldom known, so a node of a larger job is excluded after the second failure.
"""

from collections import Counter
from collections.abc import Sequence

from pipeline import clock, records
from pipeline.outcome import named
from pipeline.records import NodeFailure
from pipeline.run import Run

EXPIRY_SECONDS = 24 * 3600
SMALLEST_SHARE = 20  # at most one node in so many of the machine's is excluded


def note(run: Run, job_id: str, outcome: str, nodes: Sequence[str]) -> None:
    """Record once that a job on `nodes` ended with `outcome`, if that may be a node's fault.

    A record that has expired is of an earlier job with the same id.
    """
    if not named(outcome).elsewhere or not nodes:
        return
    path, now = run.node_failures / f"{job_id}.json", clock.time()
    known = records.read(path, NodeFailure)
    if known is None or known.time < now - EXPIRY_SECONDS:
        records.write(path, NodeFailure(outcome=outcome, nodes=tuple(nodes), time=now))


def excluded(run: Run, count: int | None) -> tuple[str, ...]:
    """Return the nodes that the next jobs avoid, those with the most failures first.

    `count` is how many nodes of the kind there are; where it is not known at most one is excluded.
    """
    since = clock.time() - EXPIRY_SECONDS
    points: Counter[str] = Counter()
    for path in sorted(run.node_failures.glob("*.json")):
        failure = records.read(path, NodeFailure)
        if failure is not None and failure.time >= since:
            points.update(dict.fromkeys(failure.nodes, 2 if len(failure.nodes) == 1 else 1))
    failed = [node for node, total in points.most_common() if total >= 2]
    return tuple(failed[: max(1, (count or 0) // SMALLEST_SHARE)])
