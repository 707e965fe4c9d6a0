"""Copies what can be read of a damaged spool file into a new one, row by row.

Rows are looked up one at a time, so that a damaged page costs only what is on it. Where a
table cannot be walked through from the beginning, it is also walked from the end, and the ids
in between are tried one by one. The batches' index tells of batches that are lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from consumer.errors import SpoolDamaged
from consumer.rows import schema_id_of
from consumer.spool import accounts, balance
from consumer.spool import file as spool_file
from consumer.spool.letters import DAMAGED_ROW, nbytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_LOG = logging.getLogger(__name__)

# Primary keys of the tables without rowid. What other tables hold belongs to their rowid.
_KEYS: Final = {
    "schemas": "schema_id",
    "state": "key",
    "ledger": "scope, account",
    "gaps": "server, number",
    "completeness": "hour, node_id",
}
_AS_THEY_ARE: Final = (
    *("state", "ledger", "births", "held", "dead_messages", "dead_letters"),
    *("gaps", "edge_nodes", "completeness"),
)
_MOST_TRIED: Final = 100_000
_COMMIT_EVERY: Final = 16 << 20


@dataclass(slots=True)
class Salvage:
    """What was saved of a damaged file, and what was not.

    `saved` and `lost` count entries by table; of tables in `uncertain` more may be lost than is
    known. `rows_lost` counts the rows of lost batches, `rows_set_aside` those
    of batches that are now dead letters: damaged, or of a schema that is lost.
    """

    kept_as: Path
    saved: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    uncertain: set[str] = field(default_factory=set)
    rows_saved: int = 0
    rows_set_aside: int = 0
    rows_lost: int = 0

    def report(self) -> None:
        """Say it in the log."""
        lost = ", ".join(f"{count} of {table}" for table, count in sorted(self.lost.items()))
        more = f"; more may be lost of {', '.join(sorted(self.uncertain))}"
        _LOG.error(
            "the damaged spool is kept as %s. Saved: %d rows in %d batches; %d rows are dead "
            "letters now; %d rows are lost. Entries lost: %s%s",
            self.kept_as,
            self.rows_saved,
            self.saved["batches"],
            self.rows_set_aside,
            self.rows_lost,
            lost or "none",
            more if self.uncertain else "",
            extra={"salvage": self.as_dict()},
        )

    def as_dict(self) -> dict[str, Any]:
        """The counts for /status and the log. JSON-compatible."""
        return {
            "kept_as": str(self.kept_as),
            "rows_saved": self.rows_saved,
            "rows_set_aside": self.rows_set_aside,
            "rows_lost": self.rows_lost,
            "entries_saved": dict(self.saved),
            "entries_lost": dict(self.lost),
            "more_may_be_lost_of": sorted(self.uncertain),
        }


def save(
    damaged: Path,
    new: Path,
    known_schemas: Mapping[str, bytes],
    clock: Callable[[], float],
    kept_as: Path,
) -> Salvage:
    """Make a spool file `new` of what can be read of `damaged`, which is not changed.

    Args:
        damaged: the file, with its log beside it.
        new: where there is no file yet.
        known_schemas: descriptors by their id, in place of lost ones.
        clock: seconds since 1970.
        kept_as: the name that the damaged file will have.

    Raises:
        SpoolError: the new file cannot be written.
    """
    salvage = Salvage(kept_as)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    target = spool_file.connect(new, "normal")
    source = sqlite3.connect(f"file:{quote(str(damaged.absolute()))}?mode=ro", uri=True)
    try:
        # Otherwise SQLite reads nothing of a file that is shorter than it should be.
        source.execute("PRAGMA writable_schema = ON")
        _Copy(source, target, salvage, clock).everything(known_schemas)
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, new) from error
    finally:
        source.close()
        target.close()
    return salvage


class _Copy:
    """One copy of a damaged file. Errors of `source` cost rows, errors of `target` end it."""

    def __init__(
        self,
        source: sqlite3.Connection,
        target: sqlite3.Connection,
        salvage: Salvage,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._salvage = salvage
        self._clock = clock
        self._uncommitted = 0

    def everything(self, known_schemas: Mapping[str, bytes]) -> None:
        """Copy all tables."""
        self._target.execute("BEGIN IMMEDIATE")
        schemas = self._schemas()
        # Before the batches: what is set aside of them must not take the place of others.
        for table in _AS_THEY_ARE:
            self._table(table)
        self._batches(schemas, known_schemas)
        accounts.forget_lost_batches(self._target)
        self._numbers()
        balance.explain(self._target, accounts.SPOOL_DAMAGED)
        self._target.execute("COMMIT")

    # ------------------------------------------------------------------ tables

    def _table(self, table: str) -> None:
        """Copy the entries of a table as they are."""
        columns = self._columns(table)
        if not columns:
            return
        if table == "births":  # their rowids tell in which order they came
            columns = ["rowid", *columns]
        for entry in self._entries(table, columns):
            self._count(table, written=self._insert(table, columns, entry))

    def _count(self, table: str, *, written: bool) -> None:
        (self._salvage.saved if written else self._salvage.lost)[table] += 1

    def _schemas(self) -> set[str]:
        """Copy the schemas that are what they were; return their ids."""
        for entry in self._entries("schemas", ["schema_id", "descriptor"]):
            schema_id, descriptor = entry
            sound = isinstance(descriptor, bytes) and schema_id_of(descriptor) == schema_id
            written = sound and self._insert("schemas", ["schema_id", "descriptor"], entry)
            self._count("schemas", written=written)
        return {row[0] for row in self._target.execute("SELECT schema_id FROM schemas")}

    def _batches(self, schemas: set[str], known_schemas: Mapping[str, bytes]) -> None:
        salvage = self._salvage
        columns = self._columns("batches")
        indexed = self._indexed_batches()
        for batch_id in sorted(indexed.keys() | set(self._ids("batches"))):
            entry = self._entry("batches", columns, "rowid", (batch_id,)) if columns else None
            if entry is None:
                self._lose(batch_id, indexed.get(batch_id, 0))
                if batch_id not in indexed:
                    salvage.uncertain.add("batches")
                continue
            batch = dict(zip(columns, entry, strict=True))
            if not isinstance(batch["row_count"], int):
                self._lose(batch_id, indexed.get(batch_id, 0))
                continue
            schema_id = batch["schema_id"]
            if schema_id not in schemas and schema_id in known_schemas:
                known = (schema_id, known_schemas[schema_id])
                self._insert("schemas", ["schema_id", "descriptor"], known)
                schemas.add(schema_id)
            if problem := _problem(batch, schemas):
                self._set_aside(batch, problem)
            elif self._insert("batches", columns, entry):
                salvage.saved["batches"] += 1
                salvage.rows_saved += batch["row_count"]
            else:
                self._lose(batch_id, batch["row_count"])

    def _lose(self, batch_id: int, rows: int) -> None:
        """A batch is lost; those of its rows that were set aside before are not."""
        self._salvage.lost["batches"] += 1
        self._salvage.rows_lost += max(0, rows - self._take_aside(batch_id))

    def _take_aside(self, batch_id: int) -> int:
        """A batch leaves the spool; returns how many of its rows were set aside before.

        What the ledger says, or of a ledger that is lost, what letters there are.
        """
        booked = accounts.take_aside(self._target, batch_id)
        [(kept,)] = self._target.execute(
            "SELECT coalesce(sum(row_count), 0) FROM dead_letters "
            "WHERE batch_id = ? AND first_row > ?",
            (batch_id, DAMAGED_ROW),
        )
        return max(booked, int(kept))

    def _indexed_batches(self) -> dict[int, int]:
        """The rows of each batch, as its index has them: another tree of pages."""
        found, _ = self._walk(
            "SELECT batch_id, row_count FROM batches INDEXED BY batches_by_table "
            "ORDER BY table_name {order}, batch_id {order}"
        )
        return {batch_id: rows for batch_id, rows in found if isinstance(rows, int)}

    def _set_aside(self, batch: Mapping[str, Any], problem: str) -> None:
        """Keep a batch that cannot be sent as a dead letter.

        Those of its rows that were set aside before have a letter of their own.
        """
        left = batch["row_count"] - self._take_aside(batch["batch_id"])
        if left <= 0:
            return
        written = self._insert(
            "dead_letters",
            [
                "set_aside_at",
                "table_name",
                "schema_id",
                "batch_id",
                "first_row",
                "row_count",
                "reason",
                "error",
                "rows",
            ],
            (
                self._clock(),
                batch["table_name"],
                batch["schema_id"],
                batch["batch_id"],
                DAMAGED_ROW,
                left,
                "damaged",
                problem,
                batch["rows"],
            ),
        )
        if written:
            self._salvage.rows_set_aside += left
        else:
            self._salvage.lost["batches"] += 1
            self._salvage.rows_lost += left

    def _numbers(self) -> None:
        """Continue the ids of each table behind those of the damaged file: none comes twice."""
        highest: Counter[str] = Counter()
        with contextlib.suppress(sqlite3.Error):
            highest.update(dict(self._source.execute("SELECT name, seq FROM sqlite_sequence")))
        letters = self._target.execute("SELECT coalesce(max(batch_id), 0) FROM dead_letters")
        highest["batches"] = max(highest["batches"], letters.fetchone()[0])
        present = dict(self._target.execute("SELECT name, seq FROM sqlite_sequence"))
        for table, number in highest.items():
            if table not in present:
                self._target.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, number))
            elif present[table] < number:
                self._target.execute(
                    "UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (number, table)
                )

    # ------------------------------------------------------------------ reading

    def _columns(self, table: str) -> list[str]:
        """The columns that both files have; none if the table is not there."""
        try:
            old = {row[1] for row in self._source.execute(f"PRAGMA table_info({table})")}
        except sqlite3.Error:
            old = set()
        if not old:
            self._salvage.uncertain.add(table)
        new = [row[1] for row in self._target.execute(f"PRAGMA table_info({table})")]
        return [column for column in new if column in old]

    def _entries(self, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """All entries that can be read, in the order of their keys; the others are counted."""
        key = _KEYS.get(table, "rowid")
        keys: list[tuple[Any, ...]]
        if key == "rowid":
            keys = [(each,) for each in self._ids(table)]
        else:
            order = ", ".join(f"{each} {{order}}" for each in key.split(", "))
            keys, complete = self._walk(f"SELECT {key} FROM {table} ORDER BY {order}")  # noqa: S608 - our own names
            if not complete:
                self._salvage.uncertain.add(table)
        for each in keys:
            entry = self._entry(table, columns, key, each)
            if entry is None:
                self._salvage.lost[table] += 1
            else:
                yield entry

    def _entry(
        self, table: str, columns: list[str], key: str, values: tuple[Any, ...]
    ) -> tuple[Any, ...] | None:
        """One entry by its key; None if it cannot be read."""
        condition = " AND ".join(f"{each} = ?" for each in key.split(", "))
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {condition}"  # noqa: S608 - our own names
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            found: tuple[Any, ...] | None = self._source.execute(query, values).fetchone()
            return found
        return None

    def _ids(self, table: str) -> list[int]:
        """The rowids of a table, as far as they can be found."""
        found, complete = self._walk(
            f"SELECT rowid FROM {table} NOT INDEXED ORDER BY rowid {{order}}"  # noqa: S608 - our own names
        )
        ids = {row[0] for row in found}
        if not complete:
            self._salvage.uncertain.add(table)
            ids.update(self._between(table, ids))
        return sorted(ids)

    def _between(self, table: str, ids: set[int]) -> list[int]:
        """Rowids among and below those that were found, where that was not all."""
        missing = (each for each in range(1, max(ids, default=_MOST_TRIED)) if each not in ids)
        tried = (each for each, _ in zip(missing, range(_MOST_TRIED), strict=False))
        return [each for each in tried if self._entry(table, ["rowid"], "rowid", (each,))]

    def _walk(self, query: str) -> tuple[list[tuple[Any, ...]], bool]:
        """Rows that a query finds from the beginning, and after an error from the end.

        Returns:
            The rows, each once, and whether there was no error.
        """
        found: dict[tuple[Any, ...], None] = {}
        for order in ("ASC", "DESC"):
            try:
                for row in self._source.execute(query.format(order=order)):
                    found[row] = None
            except (sqlite3.Error, UnicodeDecodeError):
                continue
            return list(found), order == "ASC"
        return list(found), False

    # ------------------------------------------------------------------ writing

    def _insert(self, table: str, columns: list[str], entry: tuple[Any, ...]) -> bool:
        """Write an entry; returns whether that was possible: it is not, beside another like it."""
        marks = ", ".join("?" * len(columns))
        cursor = self._target.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608 - our own names
            entry,
        )
        self._uncommitted += sum(len(value) for value in entry if isinstance(value, (bytes, str)))
        if self._uncommitted >= _COMMIT_EVERY:
            self._uncommitted = 0
            self._target.execute("COMMIT")
            self._target.execute("BEGIN IMMEDIATE")
        return cursor.rowcount == 1


def _problem(batch: Mapping[str, Any], schemas: set[str]) -> str:
    """Why a batch cannot be sent, empty if it can."""
    if batch["schema_id"] not in schemas:
        return f"its schema {batch['schema_id']} is lost"
    try:
        nbytes_of(batch["rows"], batch["row_count"])
    except SpoolDamaged as error:
        return str(error)
    return ""
