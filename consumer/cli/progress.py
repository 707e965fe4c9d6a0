"""A bar on stderr for what takes longer than two seconds; on a terminal only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from consumer.cli.output import console, may_show_progress
from consumer.foreign import escaped

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_AFTER: Final = 2.0
_EVERY: Final = 0.2


class Bar:
    """Shows how far something is, from the third second on. A context.

    Args:
        total: what `show` comes to in the end; None if that is not known.
        rows_on_stdout: whether rows go to stdout: there is a bar only if that is a file then.
    """

    def __init__(self, total: float | None, *, rows_on_stdout: bool = False) -> None:
        self._total = total
        self._wanted = may_show_progress(rows_on_stdout=rows_on_stdout)
        self._next = time.monotonic() + _AFTER
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, done: float, text: str) -> None:
        """Show how far it is, in the unit of the total, and what there is of it in words."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + _EVERY
        if self._progress is None:
            self._progress, self._task = self._begun(escaped(text))
        assert self._task is not None
        self._progress.update(self._task, completed=done, description=escaped(text))
        self._progress.refresh()

    def _begun(self, text: str) -> tuple[Progress, TaskID]:
        # Here, not at the top: see console.
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        ends = [TimeRemainingColumn()] if self._total is not None else [TimeElapsedColumn()]
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *ends,
            console=console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        task = progress.add_task(text, total=self._total)
        progress.start()
        return progress, task
