"""How the page writes numbers; what is not known is a dash."""

import math

NOTHING = "–"


def number(value: float | str | None, digits: int = 4) -> str:
    """Return counts with their commas, other numbers with `digits` significant digits."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def score(value: float | None) -> str:
    """Return a fraction with four decimals, larger numbers with four digits or more."""
    if value is None:
        return NOTHING
    size = abs(value)
    if math.isinf(value):
        return "∞"
    return f"{value:.4f}" if size < 10 else f"{value:.4g}" if size < 1000 else f"{value:,.0f}"


def short(digest: str | None) -> str:
    """Return the first twelve digits of a hash."""
    return digest[:12] if digest else NOTHING


def duration(seconds: float) -> str:
    """Return `seconds` in the unit in which a person would say them."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
