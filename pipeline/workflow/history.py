"""The links of a chain, kept beside the task, so that a next controller counts as this one did."""

from dataclasses import asdict, dataclass, replace

from pipeline.run import TaskFolder, read_json, write_json
from pipeline.workflow.policy import Ended


@dataclass(frozen=True)
class Link:
    """Link `number` of a chain: what was saved `before` it, and how it ended, empty until then."""

    number: int
    before: tuple[str, int]
    outcome: str = ""
    progressed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nobody has seen it end."""
        return not self.outcome

    def ended(self, outcome: str, *, progressed: bool) -> "Link":
        """Return the link with its end."""
        return replace(self, outcome=outcome, progressed=progressed)


def read(folder: TaskFolder) -> list[Link]:
    """Return the links of a chain that is not over, oldest first.

    Raises:
        RunError: The file is damaged.
    """
    rows = (read_json(folder.chain) or {"links": []})["links"]
    return [Link(**{**row, "before": tuple(row["before"])}) for row in rows]


def write(folder: TaskFolder, links: list[Link]) -> None:
    """Keep `links`."""
    write_json(folder.chain, {"links": [asdict(link) for link in links]})


def ends(links: list[Link]) -> list[Ended]:
    """Return how those links ended that have."""
    return [Ended(link.outcome, link.progressed) for link in links if not link.is_open]
