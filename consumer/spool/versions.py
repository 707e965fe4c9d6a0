"""The versions of tags' metadata in the spool's file: one value per node or device, bounded.

They are what births said, and births of invented nodes say what their inventor likes. So they have
a bound of their own, as births have. What left is told anew by the next birth that says something
else: with a new version, while the one before has no end (docs/side-tables.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.spool.types import Transaction

VERSIONS: Final = "tag_metadata/"
"""Beginning of the keys of the spool's state under which metadata versions are kept."""
_END_OF_VERSIONS: Final = "tag_metadata0"
_TOTAL_KEY: Final = "metadata_bytes"

_OF_SPOOL: Final = 16
"""Versions of all nodes and devices take this part of the spool at most."""
_OF_VERSIONS: Final = 4
"""Versions of one node or device take this part of the bound of all versions at most."""
_AFTER_LEAVING: Final = 7 / 8
_FOR_A_ROW: Final = 256


class KeptVersions:
    """Keeps the versions of all nodes and devices. `write` runs inside a transaction.

    Args:
        spool_bytes: bound of the whole spool.
    """

    def __init__(self, spool_bytes: int) -> None:
        self.most_bytes = spool_bytes // _OF_SPOOL
        self._most_of_one = self.most_bytes // _OF_VERSIONS
        self._counted = False  # another release may have written since it was

    def write(self, db: Transaction, values: Mapping[str, bytes], room: int) -> int:
        """Keep values in place of those before; the largest of all leave when they are too much.

        Args:
            db: in a transaction.
            values: by their keys, which begin with `VERSIONS`.
            room: bytes that the file and its log may still grow by, together.

        Returns:
            The nodes and devices whose versions are kept no longer.
        """
        total, left = self._total(db), 0
        for key, value in values.items():
            gone = db.execute("DELETE FROM state WHERE key = ? RETURNING length(value)", (key,))
            total -= sum(size + _FOR_A_ROW for (size,) in gone.fetchall())
            size = len(value) + _FOR_A_ROW
            if size > self._most_of_one or 2 * size > room:
                left += 1
                continue
            db.execute("INSERT INTO state VALUES (?, ?)", (key, value))
            total += size
            room -= 2 * size
        if total > self.most_bytes:
            for key, size in db.execute(
                "SELECT key, length(value) FROM state WHERE key >= ? AND key < ? "
                "ORDER BY length(value) DESC",
                (VERSIONS, _END_OF_VERSIONS),
            ).fetchall():
                if total <= self.most_bytes * _AFTER_LEAVING:
                    break
                db.execute("DELETE FROM state WHERE key = ?", (key,))
                total -= size + _FOR_A_ROW
                left += 1
        db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (_TOTAL_KEY, total))
        return left

    def _total(self, db: Transaction) -> int:
        known = db.execute("SELECT value FROM state WHERE key = ?", (_TOTAL_KEY,)).fetchone()
        if known is None or not self._counted:
            self._counted = True
            known = db.execute(
                "SELECT coalesce(sum(length(value) + ?), 0) FROM state WHERE key >= ? AND key < ?",
                (_FOR_A_ROW, VERSIONS, _END_OF_VERSIONS),
            ).fetchone()
        return int(known[0])
