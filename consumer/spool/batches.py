"""The batches of a spool: their table, and how many rows wait for each Zerobus table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from consumer.errors import SpoolError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


class Removed(NamedTuple):
    """A batch that is no longer in the spool: its table, rows and their bytes."""

    table: str
    rows: int
    size: int


class Content(NamedTuple):
    """Encoded rows: how many, their bytes, and as they are stored."""

    rows: int
    size: int
    blob: bytes


class Entry(NamedTuple):
    """A batch as the index has it: its id, and the bytes of its rows."""

    batch_id: int
    size: int


class Stored(NamedTuple):
    """A batch as it is in the file; `appended_at` is seconds since 1970."""

    table: str
    schema_id: str
    appended_at: float
    blob: bytes


class Backlog(NamedTuple):
    """Batches that wait for Zerobus: how many, their rows, and the bytes of these."""

    batches: int = 0
    rows: int = 0
    size: int = 0


class BatchStore:
    """The table `batches`. Used under the spool's lock, the changes inside its transactions.

    What waits is counted in memory, apart from the changes: `note_inserted` and `note_removed` are
    called when their transaction is committed.

    Args:
        db: the spool's connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._pending: dict[str, Backlog] = {}  # by table
        for table, batches, rows, size in db.execute(
            "SELECT table_name, count(*), sum(row_count), sum(byte_count) "
            "FROM batches INDEXED BY batches_by_table GROUP BY table_name"
        ):
            self._pending[table] = Backlog(batches, rows, size)

    # ------------------------------------------------------------------ in the file

    def insert(self, table: str, schema_id: str, at: float, content: Content) -> int:
        """Put a batch behind all others; returns its id.

        Raises:
            SpoolError: the schema id is unknown.
        """
        cursor = self._db.execute(
            "INSERT INTO batches "
            "(table_name, schema_id, appended_at, row_count, byte_count, rows) "
            "SELECT ?, schema_id, ?, ?, ?, ? FROM schemas WHERE schema_id = ?",
            (table, at, *content, schema_id),
        )
        if cursor.rowcount != 1:
            raise SpoolError(f"schema {schema_id} was never added to the spool")
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def fetch(self, batch_id: int) -> Stored | None:
        """Read a batch; None if it is not there."""
        row = self._db.execute(
            "SELECT table_name, schema_id, appended_at, rows FROM batches WHERE batch_id = ?",
            (batch_id,),
        ).fetchone()
        return Stored(*row) if row else None

    def following(self, table: str, batch_id: int) -> Iterator[Entry]:
        """Some batches of a table that follow one, in order; looked up at once."""
        found = self._db.execute(
            "SELECT batch_id, byte_count FROM batches INDEXED BY batches_by_table "
            "WHERE table_name = ? AND batch_id > ? ORDER BY batch_id LIMIT 1000",
            (table, batch_id),
        ).fetchall()
        # Made one by one: mostly few of them are wanted.
        return map(Entry._make, found)

    def remove(self, batch_id: int) -> Removed | None:
        """Delete a batch; None if it is not there."""
        found = self.find(batch_id)
        self._db.execute("DELETE FROM batches WHERE batch_id = ?", (batch_id,))
        return found

    def find(self, batch_id: int) -> Removed | None:
        """The table, rows and bytes of a batch; None if it is not there."""
        row = self._db.execute(
            "SELECT table_name, row_count, byte_count FROM batches WHERE batch_id = ?",
            (batch_id,),
        ).fetchone()
        return Removed(*row) if row else None

    def oldest_at(self) -> float | None:
        """When the oldest batch was appended, seconds since 1970; None if there is none."""
        row = self._db.execute(
            "SELECT appended_at FROM batches ORDER BY batch_id LIMIT 1"
        ).fetchone()
        return row[0] if row else None

    # ------------------------------------------------------------------ what waits

    def note_inserted(self, table: str, rows: int, size: int) -> None:
        """A batch is there, behind all others."""
        self._change(table, 1, rows, size)

    def note_removed(self, removed: Removed) -> None:
        """A batch is no longer there."""
        self._change(removed.table, -1, -removed.rows, -removed.size)

    def _change(self, table: str, batches: int, rows: int, size: int) -> None:
        before = self._pending.get(table, Backlog())
        self._pending[table] = Backlog(
            before.batches + batches, before.rows + rows, before.size + size
        )

    def pending_rows(self) -> dict[str, int]:
        """Rows that wait, by table."""
        return {table: waiting.rows for table, waiting in self._pending.items()}

    @property
    def totals(self) -> Backlog:
        """Batches, rows and row bytes of all tables."""
        batches, rows, sizes = zip(Backlog(), *self._pending.values(), strict=True)
        return Backlog(sum(batches), sum(rows), sum(sizes))
