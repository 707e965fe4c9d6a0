"""Dead letters, as they are kept in the spool's file.

Two sorts: rows that Zerobus refuses, and messages that could not be read or waited in vain for
a birth. The file may be looked at while a consumer runs. Nothing is sent again from here:
letters are marked, and the consumer that has the spool open sees to them.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from consumer.errors import LetterError, SpoolDamaged
from consumer.rows import EncodedRows, message_class, schema_id_of
from consumer.spool import accounts
from consumer.spool import file as spool_file
from consumer.spool.shares import LetterKind, all_kept, kind_of
from sparkplug import Reason
from sparkplug.pb import sparkplug_b_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from consumer.spool.shares import Use


_ROWS: Final = "row"
_MESSAGES: Final = "message"
_MOST_DIGITS: Final = 18
"""Of the number of a letter: SQLite has none of 64 bits and more."""

RETRIABLE_MESSAGES: Final = frozenset(
    {
        Reason.DATA_BEFORE_BIRTH,
        Reason.DEVICE_DATA_BEFORE_BIRTH,
        Reason.UNKNOWN_ALIAS,
        Reason.UNKNOWN_METRIC,
        Reason.SESSION_ENDED,
        Reason.HOLD_FULL,
        Reason.LATE_BIRTH,
    }
)
"""Messages given up for these reasons may wait for a birth once more."""

_SHOWN_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry, without its content.

    `name` is how people call it: `row-7`, `message-12`. `where` is the table or the
    topic, `size` bytes; `at` is when it was set aside, seconds since 1970; `retry` is 1 when
    trying again was asked for.
    """

    name: str
    at: float
    where: str
    reason: str
    error: str
    rows: int
    size: int
    retry: int

    @property
    def may_be_retried(self) -> bool:
        """Whether trying again can help."""
        return not _why_not_again(*_parsed(self.name), self.reason)


class LetterReason(NamedTuple):
    """The letters of one reason: `kind` is `row` or `message`, times are seconds since 1970."""

    kind: str
    reason: str
    letters: int
    rows: int
    first_at: float
    last_at: float


class LettersKept(NamedTuple):
    """The letters of one kind: as rows or messages; when the first and the last were set aside.

    Times are seconds since 1970.
    """

    number: int
    first_at: float
    last_at: float


@contextlib.contextmanager
def dead_letters_of(path: Path) -> Iterator[DeadLetters]:
    """The dead letters of a spool file, for as long as they are looked at.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or it cannot be used.
    """
    letters = DeadLetters(path)
    try:
        yield letters
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error
    finally:
        letters.close()


class DeadLetters:
    """The dead letters of a spool file. Used by one thread.

    Raises:
        SpoolError: there is no such file, or it is no spool.
    """

    def __init__(self, path: Path) -> None:
        self._db = spool_file.open_existing(path, read_only=False)
        self._db.text_factory = spool_file.lenient_text

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def list(self, reason: str | None = None) -> list[DeadLetter]:
        """All letters, or those of one reason, oldest first."""
        rows = self._db.execute(
            "SELECT 'row-' || dead_letter_id, set_aside_at, table_name, reason, error, row_count, "
            "length(rows), retry FROM dead_letters WHERE ?1 IS NULL OR reason = ?1 UNION ALL "
            "SELECT 'message-' || dead_message_id, set_aside_at, topic, reason, '', 0, "
            "length(payload), retry FROM dead_messages WHERE ?1 IS NULL OR reason = ?1 ORDER BY 2",
            (reason,),
        )
        return [DeadLetter(*row) for row in rows]

    def reasons(self) -> Sequence[LetterReason]:
        """How many letters there are of each reason, the latest first."""
        rows = self._db.execute(
            "SELECT 'row', reason, count(*), sum(row_count), min(set_aside_at), "
            "max(set_aside_at) FROM dead_letters GROUP BY reason UNION ALL "
            "SELECT 'message', reason, count(*), 0, min(set_aside_at), max(set_aside_at) "
            "FROM dead_messages GROUP BY reason ORDER BY 6 DESC"
        )
        return [LetterReason(*row) for row in rows]

    def page(
        self, *, reason: str | None, kind: str | None, limit: int, offset: int
    ) -> tuple[int, Sequence[DeadLetter]]:
        """How many letters there are of a reason and kind, and some of them, newest first.

        Args:
            reason: None for all.
            kind: `row` or `message`; None for both.
            limit: most letters that are given.
            offset: of the newest ones so many are left out.
        """
        parts = [
            f"SELECT '{sort}-' || {number} AS name, set_aside_at, {where}, reason, {error}, "  # noqa: S608 - names of our own
            f"{rows}, length({content}), retry, {number} AS number FROM {table} "
            "WHERE :reason IS NULL OR reason = :reason"
            for sort, number, where, error, rows, content, table in (
                (
                    *(_ROWS, "dead_letter_id", "table_name", "error", "row_count", "rows"),
                    "dead_letters",
                ),
                (
                    *(_MESSAGES, "dead_message_id", "topic", "''", "0", "payload"),
                    "dead_messages",
                ),
            )
            if kind in (None, sort)
        ]
        if not parts:
            return 0, []
        both = " UNION ALL ".join(parts)
        values = {"reason": reason, "limit": limit, "offset": offset}
        [(total,)] = self._db.execute(f"SELECT count(*) FROM ({both})", values)  # noqa: S608 - see above
        rows = self._db.execute(
            f"{both} ORDER BY set_aside_at DESC, number DESC LIMIT :limit OFFSET :offset", values
        )
        return total, [DeadLetter(*row[:-1]) for row in rows]

    def get(self, name: str) -> DeadLetter:
        """One letter without its content.

        Raises:
            SpoolError: there is none of that name.
        """
        sort, number = _parsed(name)
        if sort == _ROWS:
            row = self._db.execute(
                "SELECT 'row-' || dead_letter_id, set_aside_at, table_name, reason, error, "
                "row_count, length(rows), retry FROM dead_letters WHERE dead_letter_id = ?",
                (number,),
            ).fetchone()
        else:
            row = self._db.execute(
                "SELECT 'message-' || dead_message_id, set_aside_at, topic, reason, '', 0, "
                "length(payload), retry FROM dead_messages WHERE dead_message_id = ?",
                (number,),
            ).fetchone()
        if row is None:
            raise LetterError(f"there is no dead letter {name}", is_missing=True)
        return DeadLetter(*row)

    def kept(self) -> dict[LetterKind, Use]:
        """Dead letters of each kind in the file: their number, as rows or messages, and bytes."""
        return all_kept(self._db)

    def by_kind(self) -> dict[LetterKind, LettersKept]:
        """Of each kind that there are letters of: how many, since when, and until when."""
        found: dict[LetterKind, LettersKept] = {}
        for each in self.reasons():
            is_row = each.kind == _ROWS
            kind = kind_of(each.reason) if is_row else LetterKind.UNREADABLE
            here = LettersKept(each.rows if is_row else each.letters, each.first_at, each.last_at)
            if (other := found.get(kind)) is not None:
                here = LettersKept(
                    here.number + other.number,
                    min(here.first_at, other.first_at),
                    max(here.last_at, other.last_at),
                )
            found[kind] = here
        return found

    def show(self, name: str) -> dict[str, Any]:
        """One letter with its content, as far as it can be read.

        Raises:
            SpoolError: there is none of that name.
        """
        sort, number = _parsed(name)
        if sort == _ROWS:
            row = self._db.execute(
                "SELECT set_aside_at, table_name, reason, error, batch_id, first_row, row_count, "
                "topic, payload, rows, schema_id, descriptor "
                "FROM dead_letters LEFT JOIN schemas USING (schema_id) "
                "WHERE dead_letter_id = ?",
                (number,),
            ).fetchone()
            if row is None:
                raise LetterError(f"there is no dead letter {name}", is_missing=True)
            *fields, payload, blob, schema_id, descriptor = row
            titles = ["set_aside_at", "table", "reason", "error", "batch_id", "first_row", "rows"]
            shown = dict(zip([*titles, "topic"], fields, strict=True))
            return shown | {
                "payload": payload.hex() if payload is not None else None,
                "message": _payload(payload) if payload is not None else None,
                "content": _rows(blob, descriptor if _is_sound(schema_id, descriptor) else None),
            }
        row = self._db.execute(
            "SELECT set_aside_at, server, topic, reason, received_us, payload "
            "FROM dead_messages WHERE dead_message_id = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise LetterError(f"there is no dead letter {name}", is_missing=True)
        *fields, payload = row
        titles = ["set_aside_at", "server", "topic", "reason", "received_us"]
        shown = dict(zip(titles, fields, strict=True))
        return shown | {"payload": payload.hex(), "content": _payload(payload)}

    def retry(self, names: Iterable[str]) -> int:
        """Ask for letters to be tried again, all or none; returns how many that makes.

        Raises:
            SpoolError: there is none of a name, or trying again cannot help.
        """
        parsed = [_parsed(name) for name in names]
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back
            for sort, number in parsed:
                self._retry(sort, number)
        return len(parsed)

    def _retry(self, sort: str, number: int) -> None:
        if sort == _ROWS:
            query = "UPDATE dead_letters SET retry = 1 WHERE dead_letter_id = ? RETURNING reason"
        else:
            query = "UPDATE dead_messages SET retry = 1 WHERE dead_message_id = ? RETURNING reason"
        marked = self._db.execute(query, (number,)).fetchall()
        if not marked:
            raise LetterError(f"there is no dead letter {sort}-{number}", is_missing=True)
        [(reason,)] = marked
        if why_not := _why_not_again(sort, number, reason):
            raise LetterError(why_not, is_missing=False)

    def drop(self, names: Iterable[str]) -> int:
        """Delete letters for good, and book that; returns how many there were.

        Raises:
            SpoolError: a name cannot be one.
        """
        parsed = [_parsed(name) for name in names]
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back
            return sum(self._drop(sort, number) for sort, number in parsed)

    def _drop(self, sort: str, number: int) -> int:
        if sort == _ROWS:
            gone = self._db.execute(
                "DELETE FROM dead_letters WHERE dead_letter_id = ? RETURNING table_name, row_count",
                (number,),
            ).fetchall()
            for table, rows in gone:
                accounts.drop_rows(self._db, table, rows, accounts.DROPPED_BY_HAND)
            return len(gone)
        gone = self._db.execute(
            "DELETE FROM dead_messages WHERE dead_message_id = ? RETURNING server, NOT counted",
            (number,),
        ).fetchall()
        for server, count in gone:
            accounts.discard_messages(self._db, server, count, accounts.DROPPED_BY_HAND)
        return len(gone)


def _parsed(name: str) -> tuple[str, int]:
    sort, _, number = name.partition("-")
    is_number = number.isdecimal() and number.isascii() and len(number) <= _MOST_DIGITS
    if sort not in (_ROWS, _MESSAGES) or not is_number:
        raise LetterError(
            f"{name!r} is no name of a dead letter: say row-7 or message-12", is_missing=False
        )
    return sort, int(number)


def _why_not_again(sort: str, number: int, reason: str) -> str:
    """Why it is no use to try a letter again; empty if it may help."""
    if sort == _MESSAGES and reason not in RETRIABLE_MESSAGES:
        return f"{sort}-{number} cannot be read ({reason}): nothing would change"
    if reason == "damaged":
        return f"{sort}-{number} is damaged: its rows cannot be read"
    return ""


def _is_sound(schema_id: str, descriptor: bytes | None) -> bool:
    return descriptor is not None and schema_id_of(descriptor) == schema_id


def _rows(blob: bytes, descriptor: bytes | None) -> list[dict[str, Any]]:
    """The first rows of a letter as they would land; None: their schema is lost."""
    try:
        rows = EncodedRows.from_blob(blob)
    except SpoolDamaged as error:
        return [{"damaged": str(error)}]
    decoded = None if descriptor is None else message_class(descriptor)
    shown: list[dict[str, Any]] = []
    for record in rows.slice(0, min(len(rows), _SHOWN_ROWS)):
        if decoded is None:
            shown.append({"undecodable": record.hex()})
            continue
        try:
            message = decoded.FromString(record)
            text = json_format.MessageToJson(message, preserving_proto_field_name=True)
            shown.append(json.loads(text))
        except DecodeError:
            shown.append({"undecodable": record.hex()})
    return shown


def _payload(payload: bytes) -> dict[str, Any] | None:
    """A Sparkplug payload, None if it is none."""
    try:
        message = sparkplug_b_pb2.Payload.FromString(payload)
    except DecodeError:
        return None
    content: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return content
