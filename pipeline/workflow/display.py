"""What the screen shows while a campaign runs: a live table, or lines where nobody can watch."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.workflow.status import Progress

SIGNS = {"done": "[green]✓[/]", "running": "[cyan]▶[/]", "failed": "[red]✗[/]", "waiting": "·"}


def table(rows: Sequence[Progress]) -> Table:
    """Return the tasks as a table, one row each."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    for column in ("sign", "task", "bar", "count", "note"):
        grid.add_column(column, no_wrap=column != "note")
    for row in rows:
        bar = ProgressBar(total=max(1, row.total), completed=row.done, width=24)
        count = f"{row.done:,}/{row.total:,} {row.unit}" if row.total else ""
        grid.add_row(SIGNS[row.state], row.key, bar, count, Text(row.note))
    return grid


class Display:
    """Shows the tasks while the body runs, asking `look` for how far they are."""

    def __init__(self, console: Console, look: Callable[[], list[Progress]]) -> None:
        self.console, self.look = console, look
        self.live: Live | None = None
        self.told: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start the live table where there is a terminal."""
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self._table, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self.update()
        if self.live is not None:
            self.live.stop()

    def update(self) -> None:
        """Print a line for each task whose state changed, where there is no terminal."""
        if self.live is not None:
            return
        for row in self.look():
            if row.state != "waiting" and self.told.get(row.key) != row.state:
                self.told[row.key] = row.state
                note = f"  {row.note}" if row.note else ""
                stamp = time.strftime("%H:%M:%S")
                line = f"{stamp}  {row.state:<8} {row.key}{note}"
                self.console.print(line, highlight=False, markup=False)

    def _table(self) -> Table:
        return table(self.look())
