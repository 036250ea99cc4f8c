"""What every downstream task declares: what it is put on, what truth it learns, and its numbers.

Nothing here knows torch. `PLACE` names a module of the training room that holds four functions of
fixed names (`pipeline.training.network.Task`): the head itself, its loss, its answer, its score.
"""

import importlib
import importlib.util
from typing import Any, ClassVar

from pipeline.catalog import Declaration


class Head(Declaration):
    """A downstream task as a campaign asks for it; each is a subclass in a file of its own.

    `PER_POINT` and `PER_EVENT` are the arrays of truth in the store. `SHOWN` are the scores that a
    table of results shows, best first, with their titles; of those in `SMALL` less is better.
    """

    TITLE: ClassVar[str]
    SOURCE: ClassVar[str]
    PER_POINT: ClassVar[tuple[str, ...]] = ()
    PER_EVENT: ClassVar[tuple[str, ...]] = ()
    SHOWN: ClassVar[dict[str, str]]
    SMALL: ClassVar[frozenset[str]] = frozenset()

    task: str

    @classmethod
    def beside(cls, name: str) -> Any:
        """Return the module `name` in the folder of the task, None where there is none.

        "module" imports torch, so only training programs ask for it.
        """
        package = cls.__module__.rpartition(".")[0]
        if importlib.util.find_spec(f"{package}.{name}") is None:
            return None
        return importlib.import_module(f"{package}.{name}")

    def per_event(self) -> tuple[str, ...]:
        """Return the arrays of truth of events that are learnt."""
        return self.PER_EVENT

    def told(self) -> tuple[Any, ...]:
        """Return what is told: heads that tell the same of the same events can be compared."""
        return tuple(self.SHOWN), self.PER_POINT, self.per_event()
