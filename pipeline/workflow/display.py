"""The progress of a campaign on the screen: a live table, or lines without a terminal."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.chains.progress import Progress
from pipeline.pace import Pace

SIGNS = {
    "done": "[green]✓[/]",
    "running": "[cyan]▶[/]",
    "queued": "[yellow]…[/]",
    "failed": "[red]✗[/]",
    "waiting": "·",
}


WIDE = 240  # where there is no terminal, nothing gives way
BAR_WIDTH, NOTE_WIDTH, GAP = 24, 20, 2
# What gives way first where the table of trainings is wider than the terminal.
FIRST_LEFT_OUT = ("overhead a link", "of the time", "data wait", "links", "points/s")


def table(rows: Sequence[Progress], width: int = WIDE) -> Table:
    """Return the tasks as a table of at most `width` letters, one row each.

    Where that is narrow the bars give way, then the counts: state, name and outcome stay.
    """
    counts = [f"{row.done:,}/{row.total:,} {row.unit}" if row.total else "" for row in rows]
    taken = 1 + GAP + max((len(row.key) for row in rows), default=0) + GAP
    left = width - taken - NOTE_WIDTH - max(map(len, counts), default=0) - GAP
    has_counts, has_bars = left >= 0, left >= BAR_WIDTH + GAP
    grid = Table(box=None, pad_edge=False, show_header=False)
    for column in ("sign", "task", *["bar"] * has_bars, *["count"] * has_counts, "note"):
        grid.add_column(column, no_wrap=column != "note")
    for row, count in zip(rows, counts, strict=True):
        bar = ProgressBar(total=max(1, row.total), completed=row.done, width=BAR_WIDTH)
        words = [row.state] if row.state == "queued" else []
        told = Text(", ".join(filter(None, [*words, note(row)]))) + wait(row)
        grid.add_row(SIGNS[row.state], row.key, *[bar] * has_bars, *[count] * has_counts, told)
    return grid


def note(row: Progress) -> str:
    """Return the word on a task, of a training at work its pace."""
    if row.note or row.pace is None or row.state != "running":
        return row.note
    words = (
        _number("loss {:.4g}", row.pace.loss),
        _number("{:,.0f} points/s", row.pace.points_per_second),
        _duration("eta {}", row.pace.eta_seconds),
        _duration("alive {} ago", row.pace.heartbeat_age_seconds),
    )
    return ", ".join(word for word in words if word)


def wait(row: Progress) -> Text:
    """Return why the job of a task does not run and what to do, in red if it never will."""
    if not row.reason:
        return Text()
    job = f"pilot {row.job_id}" if row.state == "waiting" else f"job {row.job_id}"
    shown = f" {job}: {row.reason}" + (f". {row.advice}" if row.advice else "")
    return Text(shown, style="bold red" if row.is_stuck else "")


def trainings(rows: Sequence[Progress], width: int = WIDE) -> Table | None:
    """Return the pace of all trainings that took a step, as a table; None without any.

    Of what is wider than `width` letters the columns of `FIRST_LEFT_OUT` give way, one by one.
    """
    paces = [(row.key, _cells(row.pace)) for row in rows if row.pace is not None]
    if not paces:
        return None
    titles = list(paces[0][1])
    for title in FIRST_LEFT_OUT:
        widths = [max(len(name), *(len(cells[name]) for _, cells in paces)) for name in titles]
        if max(len(key) for key, _ in paces) + sum(widths) + GAP * len(titles) <= width:
            break
        titles.remove(title)
    grid = Table(box=None, pad_edge=False)
    grid.add_column("training", no_wrap=True)
    for title in titles:
        grid.add_column(title, justify="right")
    for key, cells in paces:
        grid.add_row(key, *(cells[title] for title in titles))
    return grid


def _cells(each: Pace) -> dict[str, str]:
    """Return the numbers of a training by the titles of their columns."""
    return {
        "links": str(each.links),
        "overhead a link": _number("{:.1f} s", each.overhead_seconds),
        "of the time": _number("{:.1%}", each.overhead_share),
        "data wait": _number("{:.1%}", each.data_wait),
        "points/s": _number("{:,.0f}", each.points_per_second),
        "loss": _number("{:.4g}", each.loss),
        "eta": _duration("{}", each.eta_seconds),
    }


def _number(words: str, value: float | None) -> str:
    return "" if value is None else words.format(value)


def _duration(words: str, seconds: float | None) -> str:
    return "" if seconds is None else words.format(timedelta(seconds=round(seconds)))


def watch(
    console: Console,
    poll: Callable[[], list[Progress]],
    is_over: Callable[[list[Progress]], bool],
    interval_seconds: float,
) -> None:
    """Show the progress of the tasks until they are over, from the disk alone."""
    with Display(console, poll, show_steps=True, interval_seconds=interval_seconds) as display:
        while not is_over(poll()):
            display.update()
            time.sleep(interval_seconds)


POLL_SHARE, QUICK_SECONDS = 50, 0.005


class Display:
    """Shows the tasks while the body runs, asking `poll` for how far they are.

    Where there is no terminal each change of state is a line; with `show_steps` each new number of
    a task at work too.
    """

    def __init__(
        self,
        console: Console,
        poll: Callable[[], list[Progress]],
        *,
        show_steps: bool = False,
        interval_seconds: float = 0.5,
    ) -> None:
        self.console, self.poll, self.show_steps = console, poll, show_steps
        self.interval_seconds = interval_seconds
        self.live: Live | None = None
        self.shown: dict[str, tuple[str, int, str]] = {}
        self._waits_because = ""
        self._rows: list[Progress] = []
        self._next_poll = 0.0

    def __enter__(self) -> Self:
        """Start the live table where there is a terminal."""
        if self.console.is_terminal:
            self.live = Live(
                console=self.console,
                get_renderable=self._table,
                refresh_per_second=1 / self.interval_seconds,
            )
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self._next_poll = 0.0
        self.update()
        if self.live is not None:
            self.live.stop()

    def update(self, refusal: str = "", news: Iterable[str] = ()) -> None:
        """Print a line for each task whose state changed, where there is no terminal.

        Why nothing is submitted for a while is a line of its own, once; so is each of the `news`.
        """
        for line in news:
            self.console.print(line, highlight=False, markup=False)
        if refusal and not self._waits_because:
            self.console.print(f"waiting  {refusal}", highlight=False, markup=False)
        self._waits_because = refusal
        if self.live is not None:
            return
        for row in self._polled():
            stuck = row.reason if row.is_stuck or row.state != "queued" else ""
            state = (row.state, row.done if self.show_steps else 0, stuck)
            if row.state != "waiting" and self.shown.get(row.key) != state:
                self.shown[row.key] = state
                self.console.print(self._line(row), highlight=False, markup=False)

    def _line(self, row: Progress) -> str:
        """Return the line that says how far a task is."""
        paces = note(row) if self.show_steps else row.note
        counted = self.show_steps and row.total
        count = f"{row.done:,}/{row.total:,} {row.unit}" if counted else ""
        words = [f"{time.strftime('%H:%M:%S')}  {row.state:<8} {row.key}", count, paces]
        return "  ".join(filter(None, [*words, wait(row).plain.strip()]))

    def _table(self) -> Table:
        return table(self._polled(), self.console.width)

    def _polled(self) -> list[Progress]:
        """Return how far the tasks are; looking is to take a fiftieth of the time at most."""
        began = time.monotonic()
        if began >= self._next_poll:
            self._rows = self.poll()
            spent = time.monotonic() - began
            self._next_poll = began + (POLL_SHARE * spent if spent > QUICK_SECONDS else 0.0)
        return self._rows
