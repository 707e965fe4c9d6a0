"""The shares of the dead letters' room: what one kind of them takes is taken from no other.

Whoever may publish makes rows that no call can carry, and messages that nobody can read, as many
as he likes. So these have a part of `spool.max_dead_letter_bytes` each, and rows that
Zerobus refuses have the rest for themselves. A kind that does not use its share lends it to nobody:
what is kept stays until somebody decides about it, so it could not be taken back.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.errors import FailureKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

MAX_BYTES: Final = 256 << 20
"""Most bytes of dead letters, by default."""

_MOST_OF_SPOOL: Final = 4
"""Dead letters may take this part of the spool at most, or nothing else would fit in."""

FREE_OF_CHARGE: Final = 1024
# Topics and what Zerobus said of a row may be longer than the row: what is long of them counts.
_ROW_TAKES: Final = (
    "length(rows) + coalesce(length(payload), 0) + max(0, coalesce(length(CAST(topic AS BLOB)), 0) "
    f"+ length(CAST(error AS BLOB)) - {FREE_OF_CHARGE})"
)
FOR_A_MESSAGE: Final = 256
MESSAGE_TAKES: Final = f"length(payload) + length(CAST(topic AS BLOB)) + {FOR_A_MESSAGE}"


class LetterKind(enum.StrEnum):
    """Kinds of dead letters, each with a share of the bound."""

    REFUSED = "refused"
    """Rows that Zerobus refuses, and batches that are damaged on the disk."""
    OVERSIZED = "oversized"
    """Rows that are longer than a call to Zerobus may be."""
    UNREADABLE = "unreadable"
    """Messages that could not be read, or waited in vain for a birth."""


_PARTS: Final = {LetterKind.REFUSED: 2, LetterKind.OVERSIZED: 4, LetterKind.UNREADABLE: 4}
"""A kind may have one of so many equal parts."""


class Use(NamedTuple):
    """Dead letters of one kind: their number, as rows or messages, and their bytes."""

    number: int = 0
    size: int = 0


def kind_of(reason: str) -> LetterKind:
    """The kind of rows that are set aside for this reason."""
    return LetterKind.OVERSIZED if reason == FailureKind.TOO_LARGE else LetterKind.REFUSED


def dead_letter_shares(max_bytes: int, spool_bytes: int) -> dict[LetterKind, int]:
    """Most bytes of each kind.

    Args:
        max_bytes: `spool.max_dead_letter_bytes`.
        spool_bytes: bound of the whole spool.
    """
    most = min(max_bytes, spool_bytes // _MOST_OF_SPOOL)
    return {kind: most // part for kind, part in _PARTS.items()}


def rows_kept(db: sqlite3.Connection) -> dict[LetterKind, Use]:
    """Number and bytes of the rows that are dead letters now, by kind."""
    use = dict.fromkeys((LetterKind.REFUSED, LetterKind.OVERSIZED), Use())
    found: Iterable[tuple[str, int, int]] = db.execute(
        f"SELECT reason, sum(row_count), sum({_ROW_TAKES}) FROM dead_letters GROUP BY reason"  # noqa: S608 - ours
    )
    for reason, rows, size in found:
        before = use[kind_of(reason)]
        use[kind_of(reason)] = Use(before.number + rows, before.size + size)
    return use


def messages_kept(db: sqlite3.Connection) -> Use:
    """Number and bytes of the messages that are dead letters now."""
    found = db.execute(
        f"SELECT count(*), coalesce(sum({MESSAGE_TAKES}), 0) FROM dead_messages"  # noqa: S608 - ours
    )
    return Use(*found.fetchone())


def all_kept(db: sqlite3.Connection) -> dict[LetterKind, Use]:
    """Number and bytes of the dead letters of each kind now."""
    return rows_kept(db) | {LetterKind.UNREADABLE: messages_kept(db)}
