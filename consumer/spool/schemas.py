"""The descriptors that batches of a spool were encoded for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.errors import SpoolDiskFull, SpoolError
from consumer.rows import schema_id_of

if TYPE_CHECKING:
    from consumer.spool.database import Database
    from consumer.spool.put_off import PutOff


class SchemaRegistry:
    """The table `schemas`. Thread-safe.

    Args:
        file: the spool's.
        put_off: has what a full disk had no room for.
    """

    def __init__(self, file: Database, put_off: PutOff) -> None:
        self._file = file
        self._put_off = put_off

    def register(self, descriptor: bytes) -> str:
        """Keep a descriptor, so that batches encoded for it can be sent by a later release.

        On a full disk it is kept in memory, and written with the next batch.

        Returns:
            The schema id, 16 hex digits that depend on the bytes only.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """
        schema_id = schema_id_of(descriptor)
        try:
            with self._file.transaction():
                self._file.connection.execute(
                    "INSERT OR IGNORE INTO schemas VALUES (?, ?)",
                    (schema_id, descriptor),
                )
        except SpoolDiskFull:
            with self._file.exclusive():
                self._put_off.schemas[schema_id] = descriptor
        return schema_id

    def descriptor(self, schema_id: str) -> bytes:
        """The descriptor kept under `schema_id`.

        Raises:
            SpoolError: there is none.
        """
        with self._file.locked():
            row = self._file.connection.execute(
                "SELECT descriptor FROM schemas WHERE schema_id = ?", (schema_id,)
            ).fetchone()
            if row is None and schema_id in self._put_off.schemas:
                return self._put_off.schemas[schema_id]
        if row is None:
            raise SpoolError(f"schema {schema_id} was never added to the spool {self._file.path}")
        return bytes(row[0])
