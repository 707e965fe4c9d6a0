"""Ctrl-C, SIGTERM and the end of the terminal as a wish: what is being written is made whole."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from consumer.cli.commands import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """Set by the first signal; a second one raises KeyboardInterrupt. A context of the main thread.

    Attributes:
        wanted: set when the command is to end.
    """

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self._interrupted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, else 0: SIGTERM is how a service is ended."""
        return EXIT_INTERRUPTED if self._interrupted else 0

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.wanted.is_set():
            raise KeyboardInterrupt
        self._interrupted = number == signal.SIGINT
        self.wanted.set()
