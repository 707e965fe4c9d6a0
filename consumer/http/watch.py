"""A thread that looks after things once a second: keys that change, samples, subscribers."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOG = logging.getLogger(__name__)

_EVERY: Final = 1.0


class Watch:
    """Calls what is to be done once a second, on a thread of its own, until it is stopped.

    Args:
        looks: are called one after the other; one that fails does not keep the others from it.
    """

    def __init__(self, looks: Sequence[Callable[[], object]]) -> None:
        self._looks = looks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http watch", daemon=True)
        self._failed: set[int] = set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, soon."""
        self._stopping.set()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            for index, look in enumerate(self._looks):
                try:
                    look()
                except Exception:  # noqa: BLE001 - the others go on, and the log tells
                    if index not in self._failed:  # it will go on failing, once a second
                        self._failed.add(index)
                        _LOG.exception("what HTTP shows is not up to date")
            due = max(due + _EVERY, time.monotonic())
