"""Products that are not on the disk any more: which are made once more, and for whom."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.campaign import Task
from pipeline.masking import masked
from pipeline.outcome import RunError
from pipeline.planning import products
from pipeline.run import Run


@dataclass(frozen=True)
class Gone:
    """A finished task whose product lacks a `file`.

    `needed_by` is a task that is to be done and reads it, `lacks` a source file that is not there
    to make it from; empty for none.
    """

    file: str
    needed_by: str = ""
    lacks: str = ""

    def __str__(self) -> str:
        """Return what is not there, and who needs it."""
        reader = self.needed_by or "nothing that is to be done"
        lacks = f"; nor is {self.lacks}, to make it from" if self.lacks else ""
        return f"{self.file} is not on the disk{lacks}; {reader} needs it"


def gone(
    tasks: Sequence[Task], run: Run, finished: Collection[str], to_do: Collection[str]
) -> dict[str, Gone]:
    """Return those of the tasks `finished` that lack a part of their products, by key.

    Those that a task of `to_do` reads are needed, and so is what they are made from.
    """
    makers, found = products.makers(tasks), dict[str, Gone]()
    wanted: dict[str, str] = {}
    for task in reversed(tasks):  # each before those it needs
        key = task.key
        if key in finished:
            path = products.missing(task, run.task(key), all_files=key in wanted)
            if path is not None:
                name = path.relative_to(run.path) if path.is_relative_to(run.path) else path
                lacks = masked(products.source_missing(task)) if key in wanted else ""
                found[key] = Gone(str(name), wanted.get(key, ""), lacks)
        if key in to_do or (key in found and key in wanted):
            wanted |= {each: wanted.get(each, key) for each in products.reads(task, makers)}
    return found


def check_sources(found: Mapping[str, Gone]) -> None:
    """Check that what is made once more has the files that it is made from.

    Raises:
        RunError: A source file is not on this machine.
    """
    lacking = [f"  - {key}: {each}" for key, each in found.items() if each.lacks]
    if lacking:
        lines = "\n".join(lacking)
        message = (
            "What is to be done reads products that are not here, and cannot be made here:\n"
            f"{lines}\n"
            "Fetch the source files, or copy the stores from where they are (cosmotron transfer)."
        )
        raise RunError(message)
