"""How published numbers stand beside the results of a task."""

from collections.abc import Mapping, Sequence

from pipeline.downstream.literature import Published
from pipeline.report.formats import number

CAUTION = (
    "Sizes of models, data and selections differ from those of this run: these numbers say where "
    "the field stands, not what this run should have reached."
)


def columns(rows: Sequence[Published]) -> list[str]:
    """Return the scores that any of the rows has, in the order in which they come."""
    return list(dict.fromkeys(score for row in rows for score in row.scores))


def printed(value: float | None) -> str:
    """Return a score as it was printed: fractions with three decimals, or four if it has them."""
    if value is None or value > 1:
        return number(value)
    return f"{value:.3f}" if round(value, 3) == value else f"{value:.4f}"


def title(score: str, shown: Mapping[str, str]) -> str:
    """Return the title of a score, as the head names it if it does."""
    return shown.get(score, score.replace("rejection_", "1/εB, ").replace("_", " "))
