"""Rows that cannot be delivered, in the spool's file: what goes in, and what is tried again.

Those that Zerobus refuses and those that no call can carry have shares of their own (shares.py).
What is kept stays until somebody decides about it (`deadletter retry` or `drop`), so it is the
new ones that find no room when there are too many. They are counted and said, never kept
back: the rows behind them are to go on.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.errors import SpoolDamaged
from consumer.log_budget import ONCE_A_MINUTE
from consumer.rows import EncodedRows
from consumer.spool.batches import Content
from consumer.spool.shares import (
    FREE_OF_CHARGE,
    LetterKind,
    Use,
    dead_letter_shares,
    kind_of,
    rows_kept,
)
from consumer.spool.types import UNKNOWN_ORIGIN, Origin

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from consumer.log_budget import LogBudget

_LOG = logging.getLogger(__name__)

DAMAGED_ROW: Final = -1
"""Where a damaged batch, whose rows cannot be told apart, begins: no row of it does."""

_AGAIN_BYTES: Final = 16 << 20
"""Bytes of dead letters that are sent again at a time."""


def nbytes_of(blob: bytes, rows: int) -> int:
    """Bytes of the rows of a batch or letter, which are what was written, and so many.

    Raises:
        SpoolDamaged: they are not.
    """
    if not isinstance(blob, bytes):
        raise SpoolDamaged("the rows of a batch are no bytes")
    encoded = EncodedRows.from_blob(blob)
    if len(encoded) != rows:
        raise SpoolDamaged(f"a batch has {len(encoded)} rows where {rows} were written")
    return encoded.nbytes


def _takes(blob: bytes, error: str, origin: Origin) -> int:
    """Bytes that a letter will take in the table: rows, payload, and words beyond some."""
    words = sum(len(each.encode("utf-8", "surrogatepass")) for each in (error, origin.topic or ""))
    return len(blob) + len(origin.payload or b"") + max(0, words - FREE_OF_CHARGE)


class Kept(enum.Enum):
    """What became of rows that were to be kept."""

    NOW = "now"
    BEFORE = "before"
    """The rows were kept already, before a crash."""
    NOT_AT_ALL = "not at all"
    """There is no room for the rows."""


class Letter(NamedTuple):
    """Rows that were set aside, with their table and the schema that they were encoded for."""

    table: str
    schema_id: str
    content: Content


class Unsent(NamedTuple):
    """A letter that `retry` was asked for, and that cannot be sent: its name, and why."""

    name: str
    table: str
    problem: str


class Again(NamedTuple):
    """What became of letters that `retry` was asked for."""

    taken: list[Letter]
    unsent: list[Unsent]


class Place(NamedTuple):
    """Where rows were that are set aside: `rows` of them, from `first_row` of the batch on."""

    table: str
    schema_id: str
    batch_id: int
    first_row: int
    rows: int


class CountedLetters(NamedTuple):
    """What letters took, by kind, in one version of the file."""

    version: int
    use: dict[LetterKind, Use]


class LetterStore:
    """The table `dead_letters`. Used under the spool's lock, inside its transactions.

    Args:
        db: the spool's connection.
        max_bytes: bound of what is kept, payloads included.
        spool_bytes: bound of the whole spool.
        clock: seconds since 1970.
        budget: says how often it is logged that there is no room.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        max_bytes: int,
        spool_bytes: int,
        clock: Callable[[], float],
        budget: LogBudget,
    ) -> None:
        self.shares = dead_letter_shares(max_bytes, spool_bytes)
        self.dropped_rows: Counter[LetterKind] = Counter()
        self._db = db
        self._clock = clock
        self._counted: CountedLetters | None = None
        self._budget = budget

    def count(self) -> dict[LetterKind, Use]:
        """Letters that are kept now, by kind; counted anew if another program changed the file."""
        version = self._version()
        if self._counted is None or self._counted.version != version:
            self._counted = CountedLetters(version, rows_kept(self._db))
        return self._counted.use

    def count_again(self) -> None:
        """A transaction was taken back: what was counted may be wrong."""
        self._counted = None

    def keep(
        self,
        place: Place,
        reason: str,
        error: str,
        blob: bytes,
        origin: Origin = UNKNOWN_ORIGIN,
    ) -> Kept:
        """Keep rows, as `blob`, with the message that they come from.

        The payload may be much more than the rows: where it finds no room they are kept without
        it.
        """
        kind = kind_of(reason)
        before = self.count()[kind]
        room = self.shares[kind] - before.size
        size = _takes(blob, error, origin)
        if size > room:
            origin = Origin(origin.topic)
            size = _takes(blob, error, origin)
        if size > room and not self._has(place):
            return Kept.NOT_AT_ALL
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO dead_letters (set_aside_at, table_name, schema_id, batch_id, "
            "first_row, row_count, reason, error, rows, topic, payload) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._clock(), *place, reason, error, blob, *origin),
        )
        if cursor.rowcount != 1:
            return Kept.BEFORE
        now = Use(before.number + place.rows, before.size + size)
        self._counted = CountedLetters(self._version(), self.count() | {kind: now})
        return Kept.NOW

    def _has(self, place: Place) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM dead_letters WHERE batch_id = ? AND first_row = ?",
            (place.batch_id, place.first_row),
        )
        return found.fetchone() is not None

    def note_dropped(self, place: Place, reason: str, error: str) -> None:
        """Rows were not kept, and that is committed: count them, and say so now and then."""
        kind = kind_of(reason)
        self.dropped_rows[kind] += place.rows
        if self._budget.allows("dead_letters_full", kind, ONCE_A_MINUTE):
            _LOG.error(
                "no room for more dead letters of %s rows (%d bytes, their share of "
                "spool.max_dead_letter_bytes): %d of them were dropped since the start, the last "
                "from row %d of batch %d for %s (%s: %s); look at what is kept with `deadletter "
                "list`, then `retry` or `drop` it",
                kind,
                self.shares[kind],
                self.dropped_rows[kind],
                place.first_row,
                place.batch_id,
                place.table,
                reason,
                error,
                extra={"table": place.table, "batch_id": place.batch_id, "rows": place.rows},
            )

    def take_again(self) -> Again:
        """Take out some letters for which `retry` was asked.

        One that cannot be sent stays, and is asked for no longer: damaged ones for good, the
        others until somebody asks again.
        """
        asked = self._db.execute(
            "SELECT dead_letter_id, length(rows) FROM dead_letters "
            "WHERE retry AND reason != 'damaged' ORDER BY dead_letter_id LIMIT 10000"
        ).fetchall()
        again = Again([], [])
        size = 0
        for letter_id, length in asked:
            if size and size + length > _AGAIN_BYTES:
                break
            size += length
            table, schema_id, reason, rows, blob = self._db.execute(
                "SELECT table_name, schema_id, reason, row_count, rows FROM dead_letters "
                "WHERE dead_letter_id = ?",
                (letter_id,),
            ).fetchone()
            problem = ""
            try:
                content = Content(rows, nbytes_of(blob, rows), blob)
            except SpoolDamaged as error:
                reason, problem = "damaged", str(error)
            else:
                if not self._has_schema(schema_id):
                    problem = (
                        f"its schema {schema_id} is lost: retry with the release that wrote it"
                    )
            if problem:
                self._leave(letter_id, reason, problem)
                again.unsent.append(Unsent(f"row-{letter_id}", table, problem))
                continue
            self._db.execute("DELETE FROM dead_letters WHERE dead_letter_id = ?", (letter_id,))
            again.taken.append(Letter(table, schema_id, content))
        if asked:
            self._counted = None
        return again

    def _has_schema(self, schema_id: str) -> bool:
        found = self._db.execute("SELECT 1 FROM schemas WHERE schema_id = ?", (schema_id,))
        return found.fetchone() is not None

    def _leave(self, letter_id: int, reason: str, problem: str) -> None:
        """Let a letter stay, say why, and ask for it no longer."""
        self._db.execute(
            "UPDATE dead_letters SET retry = 0, reason = ?, error = ? WHERE dead_letter_id = ?",
            (reason, problem, letter_id),
        )

    def _version(self) -> int:
        """Changes when another program has written."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])
