"""A live table of totals and rates on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from consumer.demo.system import SystemReading

_LINE_SECONDS: Final = 2.0
_RATE_SECONDS: Final = 2.0


class Progress:
    """Shows readings while it is entered."""

    def __init__(self, console: Console) -> None:
        self._console = console
        terminal = console.is_interactive and console.file.isatty()
        self._live = Live(console=console, auto_refresh=False) if terminal else None
        self._recent: deque[SystemReading] = deque()
        self._first: SystemReading | None = None
        self._line_at = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, reading: SystemReading, phase: str, *, last: bool = False) -> None:
        """Show one reading.

        Args:
            reading: what was counted up to now.
            phase: says what is going on.
            last: shown in any case, with rates over the whole time.
        """
        # Rates over the last seconds: calm to read, and still rates of now.
        recent = self._recent
        recent.append(reading)
        while len(recent) > 2 and reading.at - recent[1].at >= _RATE_SECONDS:
            recent.popleft()
        self._first = self._first or reading
        before = self._first if last else recent[0]
        if self._live is not None:
            self._live.update(self._table(before, reading, phase), refresh=True)
        elif last or reading.at >= self._line_at:
            self._line_at = reading.at + _LINE_SECONDS
            self._console.print(self._line(before, reading, phase), soft_wrap=True)

    def _table(self, before: SystemReading, now: SystemReading, phase: str) -> Table:
        table = Table(
            box=SIMPLE_HEAD, title=phase, title_justify="left", title_style="bold", pad_edge=False
        )
        table.add_column("")
        for name, _, _ in _columns(before, now):
            table.add_column(name, justify="right", min_width=7)
        table.add_column("spool", justify="right", min_width=5)
        table.add_column("stream", min_width=8)
        totals = [f"{total:,}" for _, total, _ in _columns(before, now)]
        rates = [f"{rate:,.0f}" for _, _, rate in _columns(before, now)]
        table.add_row("total", *totals, f"{now.number('spooled_rows'):,}", now.stream_state)
        table.add_row("per s", *rates, "", "")
        return table

    def _line(self, before: SystemReading, now: SystemReading, phase: str) -> str:
        parts = [f"{name} {total:,} ({rate:,.0f}/s)" for name, total, rate in _columns(before, now)]
        parts += [f"spool {now.number('spooled_rows'):,}", now.stream_state]
        return f"{phase}: " + " · ".join(parts)


def _columns(before: SystemReading, now: SystemReading) -> list[tuple[str, int, float]]:
    """Name, total and rate of everything that flows, in the order of the flow."""
    elapsed = now.at - before.at
    return [
        (name, after_total, (after_total - before_total) / elapsed if elapsed else 0.0)
        for name, before_total, after_total in (
            ("published", before.published, now.published),
            ("received", before.received, now.received),
            ("sent", before.number("rows_sent"), now.number("rows_sent")),
            ("landed", before.landed, now.landed),
            ("acked", before.number("rows_acked"), now.number("rows_acked")),
        )
    ]
