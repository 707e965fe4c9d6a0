"""The tables of the spool's file, and what later releases added to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from consumer.errors import SpoolError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

Sync = Literal["full", "normal", "off"]

APPLICATION_ID: Final = 0x53505A42  # "SPZB"; `file` and SQLite tools show it
SCHEMA_VERSION: Final = 3
# Batches are blobs of about a megabyte: large pages mean few page writes for each.
PAGE_BYTES: Final = 16384
# The write-ahead log is copied into the file when it has grown by this much, or by this
# part of all that the spool may have: the log counts, too.
_CHECKPOINT_PAGES: Final = 1024
_CHECKPOINT_FRACTION: Final = 16
# https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24

TABLES: Final = (
    """CREATE TABLE schemas (
        schema_id TEXT PRIMARY KEY,
        descriptor BLOB NOT NULL
    ) WITHOUT ROWID""",
    # AUTOINCREMENT: an id is never given twice, also not after a trim.
    """CREATE TABLE batches (
        batch_id INTEGER PRIMARY KEY AUTOINCREMENT,
        table_name TEXT NOT NULL,
        schema_id TEXT NOT NULL REFERENCES schemas,
        appended_at REAL NOT NULL,
        row_count INTEGER NOT NULL,
        byte_count INTEGER NOT NULL,
        rows BLOB NOT NULL
    )""",
    """CREATE INDEX batches_by_table
        ON batches (table_name, batch_id, row_count, byte_count, appended_at)""",
    """CREATE TABLE dead_letters (
        dead_letter_id INTEGER PRIMARY KEY AUTOINCREMENT,
        set_aside_at REAL NOT NULL,
        table_name TEXT NOT NULL,
        schema_id TEXT NOT NULL REFERENCES schemas,
        batch_id INTEGER NOT NULL,
        first_row INTEGER NOT NULL,
        row_count INTEGER NOT NULL,
        reason TEXT NOT NULL,
        error TEXT NOT NULL,
        rows BLOB NOT NULL,
        UNIQUE (batch_id, first_row)
    )""",
    "CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
)

# What later layouts added, by the layout that did.
ADDED: Final = {
    2: (
        # The last birth of every node (device_id '') and device; rowids grow with the births.
        """CREATE TABLE births (
            server TEXT NOT NULL,
            group_id TEXT NOT NULL,
            edge_node_id TEXT NOT NULL,
            device_id TEXT NOT NULL,
            slot INTEGER NOT NULL,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            received_us INTEGER NOT NULL,
            alive INTEGER NOT NULL,
            stale INTEGER NOT NULL,
            dead_bd_seq INTEGER,
            died_us INTEGER,
            PRIMARY KEY (server, group_id, edge_node_id, device_id)
        )""",
        # Messages that waited for a birth when the consumer stopped.
        """CREATE TABLE held (
            held_id INTEGER PRIMARY KEY,
            server TEXT NOT NULL,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            received_us INTEGER NOT NULL,
            device_id TEXT,
            reason TEXT NOT NULL
        )""",
        # Messages that could not be read, or were held in vain.
        """CREATE TABLE dead_messages (
            dead_message_id INTEGER PRIMARY KEY AUTOINCREMENT,
            set_aside_at REAL NOT NULL,
            server TEXT NOT NULL,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            received_us INTEGER NOT NULL,
            reason TEXT NOT NULL,
            retry INTEGER NOT NULL DEFAULT 0
        )""",
        # Asked for by `deadletter retry`, done by the consumer that runs.
        "ALTER TABLE dead_letters ADD COLUMN retry INTEGER NOT NULL DEFAULT 0",
    ),
    3: (
        # What became of every message and row since the file was made (consumer/spool/accounts.py).
        """CREATE TABLE ledger (
            scope TEXT NOT NULL,
            account TEXT NOT NULL,
            amount INTEGER NOT NULL,
            PRIMARY KEY (scope, account)
        ) WITHOUT ROWID""",
        # Messages that edge nodes sent and that did not come, at first (docs/gaps.md). Of a hole
        # in seq that is open, missing_seqs has a bit for each message still missing.
        """CREATE TABLE gaps (
            server TEXT NOT NULL,
            number INTEGER NOT NULL,
            group_id TEXT NOT NULL,
            edge_node_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            found_us INTEGER NOT NULL,
            first_seq INTEGER,
            missing INTEGER,
            late INTEGER NOT NULL,
            missing_seqs BLOB,
            from_us INTEGER,
            to_us INTEGER,
            sessions_missed INTEGER NOT NULL,
            healing TEXT NOT NULL,
            closed TEXT NOT NULL,
            healed_us INTEGER,
            history_rows INTEGER NOT NULL,
            PRIMARY KEY (server, number)
        ) WITHOUT ROWID""",
        "CREATE INDEX gaps_by_time ON gaps (found_us)",
        # When the last message of each edge node came, and when it was sent. An id is never
        # given twice: accounts of a node that is forgotten are nobody's.
        """CREATE TABLE edge_nodes (
            node_id INTEGER PRIMARY KEY AUTOINCREMENT,
            server TEXT NOT NULL,
            group_id TEXT NOT NULL,
            edge_node_id TEXT NOT NULL,
            last_us INTEGER NOT NULL,
            sent_us INTEGER NOT NULL,
            UNIQUE (server, group_id, edge_node_id)
        )""",
        # What came of each edge node and what did not; hours since 1970 UTC.
        """CREATE TABLE completeness (
            hour INTEGER NOT NULL,
            node_id INTEGER NOT NULL,
            received INTEGER NOT NULL,
            missing INTEGER NOT NULL,
            late INTEGER NOT NULL,
            flushed INTEGER NOT NULL,
            gaps INTEGER NOT NULL,
            unknown INTEGER NOT NULL,
            unlisted INTEGER NOT NULL,
            late_arrival INTEGER NOT NULL,
            history_flush INTEGER NOT NULL,
            rebirth_snapshot INTEGER NOT NULL,
            not_at_all INTEGER NOT NULL,
            sessions_missed INTEGER NOT NULL,
            history_rows INTEGER NOT NULL,
            longest INTEGER NOT NULL,
            PRIMARY KEY (hour, node_id)
        ) WITHOUT ROWID""",
        # 1: what became of the message is in the ledger already, and this is a part of it.
        "ALTER TABLE held ADD COLUMN counted INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE dead_messages ADD COLUMN counted INTEGER NOT NULL DEFAULT 0",
        # What an earlier release left opens the ledger.
        """INSERT INTO ledger SELECT 'rows/' || table_name, 'produced', sum(row_count)
            FROM (SELECT table_name, row_count FROM batches
                  UNION ALL SELECT table_name, row_count FROM dead_letters)
            GROUP BY table_name""",
        """INSERT INTO ledger SELECT 'messages/' || server, 'received', count(*)
            FROM (SELECT server FROM held UNION ALL SELECT server FROM dead_messages)
            GROUP BY server""",
        """INSERT INTO ledger SELECT 'messages/' || server, 'held', count(*)
            FROM held GROUP BY server""",
        # Where a dead letter came from, as far as that is known.
        "ALTER TABLE dead_letters ADD COLUMN topic TEXT",
        "ALTER TABLE dead_letters ADD COLUMN payload BLOB",
    ),
}


_LATEST_US: Final = """SELECT max(
    coalesce((SELECT max(received_us) FROM births), 0),
    coalesce((SELECT max(last_us) FROM edge_nodes), 0),
    coalesce((SELECT max(found_us) FROM gaps), 0),
    coalesce((SELECT max(received_us) FROM held), 0),
    coalesce((SELECT max(received_us) FROM dead_messages), 0),
    CAST(1e6 * coalesce((SELECT max(appended_at) FROM batches), 0) AS INTEGER),
    CAST(1e6 * coalesce((SELECT max(set_aside_at) FROM dead_letters), 0) AS INTEGER)
)"""


def latest_us(db: sqlite3.Connection) -> int:
    """The latest time of our clock that stands in the file, microseconds since 1970 UTC; or 0."""
    [(latest,)] = db.execute(_LATEST_US)
    return int(latest)


def check_layout(connection: sqlite3.Connection, path: Path) -> None:
    """See that a file is a spool of this release.

    Raises:
        SpoolError: it is not.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise SpoolError(f"{path} is not a spool: is spool.path right?")
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise SpoolError(
            f"the spool {path} has layout {version}, this release knows {SCHEMA_VERSION}: start "
            "the consumer of this release once"
        )


def prepare(connection: sqlite3.Connection, path: Path, sync: Sync, max_bytes: int) -> None:
    """Set a connection up, make the tables of a new file, and add what an older one lacks.

    Raises:
        SpoolError: the file is not a spool, or that of a newer release.
    """
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    is_new = application_id == 0 and version == 0 and tables == 0
    if not is_new and application_id != APPLICATION_ID:
        raise SpoolError(
            f"{path} is a database of another program, not a spool: "
            "point spool.path to a file of its own"
        )
    if version > SCHEMA_VERSION:
        raise SpoolError(
            f"the spool {path} was written by a newer release (layout {version}, this one "
            f"knows {SCHEMA_VERSION}): run that release, or point spool.path to a new file"
        )
    if is_new:  # the second would write, also where it holds already
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync.upper()}")
    log_pages = max(1, min(_CHECKPOINT_PAGES, max_bytes // _CHECKPOINT_FRACTION // PAGE_BYTES))
    connection.execute(f"PRAGMA wal_autocheckpoint = {log_pages}")
    # A log that grew during a burst is cut back once it has been copied, but not below what
    # it has when it is copied: on a full disk it could not grow again.
    log_bytes = _LOG_HEADER_BYTES + log_pages * (_FRAME_HEADER_BYTES + PAGE_BYTES)
    connection.execute(f"PRAGMA journal_size_limit = {log_bytes}")
    # Some distributions build SQLite to overwrite what is deleted, which would write
    # every trimmed batch once more.
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA busy_timeout = 10000")  # another program may be reading
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES if is_new else ():
            connection.execute(statement)
        for added in range(version + 1, SCHEMA_VERSION + 1):
            for statement in ADDED.get(added, ()):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
