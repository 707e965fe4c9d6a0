"""A switch that allows or ends the connection to an MQTT server, obeyed by its thread."""

from __future__ import annotations

import threading


class ConnectionSwitch:
    """Says whether a connection may be; open at first.

    `shut`, `open` and `stop` may be called from any thread.

    `barred` is set while no connection may be, because the switch is shut or the
    consumer stops; `stopping` for good once it stops.
    """

    def __init__(self) -> None:
        self.barred = threading.Event()
        self.stopping = threading.Event()
        self.drain = 0.0
        """Seconds for which a shut connection still reads after it said that it leaves."""
        self._shut = False
        self._away = False
        self._changed = threading.Condition()

    @property
    def away(self) -> bool:
        """Whether the connection has ended, and its thread waits for the switch to open."""
        with self._changed:
            return self._away

    def shut(self, drain: float) -> None:
        """Let the connection end in order, and no other be made."""
        with self._changed:
            self.drain = drain
            self._shut = True
            self.barred.set()

    def open(self) -> None:
        """Let there be a connection again."""
        with self._changed:
            self._shut = False
            if not self.stopping.is_set():
                self.barred.clear()
            self._changed.notify_all()

    def stop(self) -> None:
        """Let the connection end in order, and the thread as well."""
        with self._changed:
            self.stopping.set()
            self.barred.set()
            self._changed.notify_all()

    def wait(self) -> bool:
        """Called by the thread without connection: wait while shut; False once stopping."""
        with self._changed:
            while self._shut and not self.stopping.is_set():
                self._away = True
                self._changed.wait()
            self._away = False
            return not self.stopping.is_set()
