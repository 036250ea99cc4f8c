"""Where the trainings of one job go: their nodes, and the devices of a node that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]  # the nodes of a training, and its processes on each


@dataclass(frozen=True)
class Assignment:
    """The nodes of a training in a job, from `first_node` on, counted from 0.

    `devices` are its positions in the order of its only node's devices; none where all are its own.
    """

    first_node: int
    devices: tuple[int, ...] = ()


def assign(sizes: Sequence[Size], per_node: int) -> list[Assignment]:
    """Return the nodes and devices of each training in the job that runs all of them.

    Example: of trainings of 4, 16, 2 and 2 devices on nodes of eight, the second has the nodes 0
    and 1, and the others share node 2.

    Trainings with whole nodes have the first ones. The others share the rest, the largest first,
    each on the first node that has room. Where each size divides the next, such as 1, 2 and 4 of 8,
    no other way takes fewer nodes.

    Args:
        sizes: The nodes and processes per node of each training.
        per_node: The devices of a node.
    """
    found: dict[int, Assignment] = {}
    nodes = 0
    for index, (wanted, processes) in enumerate(sizes):
        if not _shares(wanted, processes, per_node):
            found[index], nodes = Assignment(nodes), nodes + wanted
    taken: list[int] = []
    rest = [index for index in range(len(sizes)) if index not in found]
    for index in sorted(rest, key=lambda index: -sizes[index][1]):
        processes = sizes[index][1]
        node = next((n for n, used in enumerate(taken) if used + processes <= per_node), len(taken))
        taken += [0] * (node == len(taken))
        found[index] = Assignment(nodes + node, tuple(range(taken[node], taken[node] + processes)))
        taken[node] += processes
    return [found[index] for index in range(len(sizes))]


def node_count(sizes: Sequence[Size], per_node: int) -> int:
    """Return the nodes of the job that runs trainings of these sizes side by side."""
    found = assign(sizes, per_node)
    pairs = zip(found, sizes, strict=True)
    return max((mine.first_node + wanted for mine, (wanted, _) in pairs), default=0)


def _shares(nodes: int, processes: int, per_node: int) -> bool:
    """Whether a training leaves room on its node."""
    return nodes == 1 and processes < per_node
