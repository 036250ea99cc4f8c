"""How our figures look, and how they become SVG that follows the page's light or dark colours."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from itertools import cycle, islice
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's palette (jfly.uni-koeln.de/color), which colour-blind readers can distinguish; its
# black is the page's text colour here, and its yellow is left out: it is lost on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MUTED = "#8a8f98"
PAGE_REM, REM_PER_INCH, SMALLEST = 54.0, 6.0, 0.7  # widths on the page; the share on a phone
INK = "#010203"  # stands for the text colour of the page, see `to_svg`
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.linewidth": 0.9,
    "axes.titlesize": 11.5,
    "axes.titlepad": 10,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "grid.alpha": 0.25,
    "grid.color": MUTED,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "cosmotron",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.direction": "in",
    "xtick.top": True,
    "ytick.color": INK,
    "ytick.direction": "in",
    "ytick.right": True,
}


StyleName = Literal["plain", "alice", "atlas", "cms", "dune", "lhcb", "sphenix"]
MPLHEP = {
    "alice": "ALICE",
    "atlas": "ATLAS",
    "cms": "CMS",
    "dune": "DUNE",
    "lhcb": "LHCb",
    "sphenix": "ATLAS",
}
_OURS = re.compile("size|^figure|^grid|^svg|^savefig|pad$")  # of these settings, ours stay
_chosen: ContextVar[Any] = ContextVar("style of figures", default=STYLE)


def colours(count: int) -> list[str]:
    """Return `count` colours, repeating after the palette's six."""
    return list(islice(cycle(PALETTE), count))


@contextmanager
def style() -> Iterator[None]:
    """Draw in our style while the body runs, or in that of `styled_as`."""
    with mpl.rc_context(_chosen.get()):
        yield


@contextmanager
def styled_as(name: StyleName) -> Iterator[None]:
    """While the body runs, figures have the fonts, ticks and frames of a collaboration.

    They are those of mplhep, in the sizes of ours, for our figures have several panels. sPHENIX has
    that of ATLAS, from which its own macro is made (sPhenixStyle.h, P. Steinberg, 2017).
    """
    if name == "plain":
        yield
        return
    import mplhep

    theirs = getattr(mplhep.style, MPLHEP[name])
    kept = {key: value for key, value in theirs.items() if not _OURS.search(key)}
    sizes = {key: value for key, value in STYLE.items() if _OURS.search(key)}
    token = _chosen.set(kept | sizes)
    try:
        yield
    finally:
        _chosen.reset(token)


def to_svg(figure: Figure, title: str) -> str:
    """Return `figure` as an SVG element for a page: no file, no font, no link outside.

    `INK` becomes `currentColor`, so that axes and words have the colour of the text around them.
    It is as wide as the figure, so that words are of one size in all; on a phone it shrinks until
    they could not be read, and is then scrolled.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # A constrained layout fills the figure already, and to find its bounds is to draw it twice.
    bounds = None if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine) else "tight"
    with style():
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches=bounds, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    width = min(PAGE_REM, REM_PER_INCH * figure.get_figwidth())
    size = f"max-width: {width:.1f}rem; min-width: {SMALLEST * width:.1f}rem"
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}" style="{size}"', 1)
