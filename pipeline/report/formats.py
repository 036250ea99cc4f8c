"""How the page writes numbers; what is not known is a dash."""

import math

NOTHING = "–"
DAY = 86_400


def number(value: float | str | None, digits: int = 4) -> str:
    """Return counts with their commas, other numbers with `digits` significant digits."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def score(value: float | None, like: float | None = None) -> str:
    """Return a fraction with four decimals, larger numbers with as many as say something.

    A spread has the decimals of the number that it is `like`.
    """
    if value is None:
        return NOTHING
    if math.isinf(value):
        return "∞"
    size = abs(value if like is None else like)
    decimals = next((count for count, end in ((4, 10), (2, 100), (1, 1000)) if size < end), 0)
    return f"{value:,.{decimals}f}"


def short(digest: str | None) -> str:
    """Return the first twelve digits of a hash."""
    return digest[:12] if digest else NOTHING


def duration(seconds: float) -> str:
    """Return `seconds` in the unit in which a person would say them."""
    if seconds >= 3 * DAY:
        return f"{seconds / DAY:.1f} days"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
