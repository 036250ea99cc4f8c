"""Nodes that links failed on: the next ones run elsewhere, for a while.

A few nodes cause most failures: of 63 nodes, 3 more than half (arXiv 2605.09370). Which of a job's
nodes it was is seldom known, so a node of several is suspected when it was there twice.
"""

from collections import Counter
from collections.abc import Sequence

from pipeline import clock
from pipeline.run import Run, create_json, read_json

# After these the same nodes may fail again; a walltime or a preemption says nothing of a node.
ELSEWHERE = ("node_fail", "hang", "peer_lost")
EXPIRY_SECONDS = 24 * 3600
MOST_SHARE = 20  # of the machine's nodes at most one in so many is avoided


def note(run: Run, job_id: str, outcome: str, nodes: Sequence[str]) -> None:
    """Note that a job ended in such a way on `nodes`, once."""
    if outcome in ELSEWHERE and nodes:
        what = {"outcome": outcome, "nodes": list(nodes), "time": clock.time()}
        create_json(run.suspects / f"{job_id}.json", what)


def avoided(run: Run, count: int | None) -> tuple[str, ...]:
    """Return the nodes that no job is to run on now, the most suspect first.

    `count` is how many nodes of the kind there are; where that is not known one is avoided at most.
    """
    since = clock.time() - EXPIRY_SECONDS
    times: Counter[str] = Counter()
    for path in sorted(run.suspects.glob("*.json")):
        told = read_json(path)
        if told is not None and told["time"] >= since:
            times.update(dict.fromkeys(told["nodes"], 2 if len(told["nodes"]) == 1 else 1))
    guilty = [node for node, points in times.most_common() if points >= 2]
    return tuple(guilty[: max(1, (count or 0) // MOST_SHARE)])
