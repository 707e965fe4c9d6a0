"""Single values that a spool's file keeps by a key, such as where a count was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.spool.database import Database
    from consumer.spool.types import StateValue


class SpoolState:
    """The table `state`. Thread-safe.

    Args:
        file: the spool's.
    """

    def __init__(self, file: Database) -> None:
        self._file = file

    def get(self, key: str) -> StateValue | None:
        """The value kept under `key`, None when there is none.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self._file.locked():
            row = self._file.connection.execute(
                "SELECT value FROM state WHERE key = ?", (key,)
            ).fetchone()
        value: StateValue | None = row[0] if row else None
        return value

    def set(self, key: str, value: StateValue) -> None:
        """Commit one value by itself.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """
        self._file.write(lambda _: self.write({key: value}))

    def write(self, values: Mapping[str, StateValue]) -> None:
        """Write values by their keys, inside a transaction of the spool."""
        if values:
            self._file.connection.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)", values.items()
            )
