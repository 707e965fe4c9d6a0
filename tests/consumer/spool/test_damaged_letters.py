"""Rows that are damaged cost themselves: dead letters that are asked for, and batches set aside."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import support.small_disk
from support.read_spool import read_from
from support.spooled_rows import TABLE, random_rows, rows_of, texts_in

from consumer.errors import SpoolDiskFull
from consumer.spool import Spool
from consumer.spool.balance import RowBalance, read_balance
from consumer.spool.dead_letters import DeadLetters
from consumer.spool.ledger import Ledger
from consumer.spool.opening import damaged_files
from consumer.spool.shares import LetterKind

MIB = 1 << 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def opened(path, **options):
    return contextlib.closing(Spool.open(path, sync="off", **{"reserve_bytes": 0} | options))


def appended(spool, *texts):
    """A batch of rows that the ledger knows of."""
    schema_id = spool.schemas.register(b"descriptor")
    ledger = Ledger()
    ledger.rows(TABLE, len(texts))
    spool.write(ledger.write)
    ledger.committed()
    return spool.append(TABLE, rows_of(*texts), schema_id=schema_id)


def damage(path, table="dead_letters", where="1"):
    """Turn a bit of rows in the file, as a bad disk does."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for rowid, blob in db.execute(f"SELECT rowid, rows FROM {table} WHERE {where}").fetchall():
            changed = blob[:-1] + bytes([blob[-1] ^ 1])
            db.execute(f"UPDATE {table} SET rows = ? WHERE rowid = ?", (changed, rowid))
        db.commit()


def letters(spool):
    query = "SELECT first_row, row_count, reason, retry FROM dead_letters ORDER BY first_row"
    return read_from(spool, lambda db: db.execute(query).fetchall())


def balance(spool):
    found = read_from(spool, read_balance)
    assert found.balanced, found.lines()
    return found.rows[TABLE]


def aside(spool):
    query = "SELECT count(*) FROM ledger WHERE scope LIKE 'aside/%'"
    return read_from(spool, lambda db: db.execute(query).fetchone()[0])


def retry_all(path):
    with contextlib.closing(DeadLetters(path)) as found:
        found.retry([each.name for each in found.list()])


class TestALetterThatIsAskedFor:
    @pytest.fixture
    def spool(self, path):
        """Three letters of one row each, of a batch that is done with."""
        with opened(path) as spool:
            batch = appended(spool, "one", "two", "three")
            for row, reason in enumerate(["poison", "too_large", "poison"]):
                spool.letters.set_aside(batch, row, row + 1, reason=reason, error="no")
            spool.trim([batch.batch_id])
            yield spool

    def test_costs_itself_if_it_is_damaged_and_its_neighbours_get_through(
        self, spool, path, caplog
    ):
        damage(path, where="first_row = 1")
        retry_all(path)
        assert spool.letters.send_again() == {TABLE: 2}
        assert texts_in(spool) == ["one", "three"]
        assert letters(spool) == [(1, 1, "damaged", 0)]
        assert balance(spool) == RowBalance(produced=3, spooled=2, dead_lettered=1)
        assert "dead letter row-2" in caplog.text
        assert "checksum" in caplog.text
        caplog.clear()
        assert spool.letters.send_again() == {}
        assert not caplog.text

    def test_takes_its_room_among_the_damaged_ones_from_then_on(self, spool, path):
        damage(path, where="first_row = 1")
        retry_all(path)
        spool.letters.send_again()
        shares = spool.letters.shares()
        assert shares[LetterKind.OVERSIZED].count == 0
        assert shares[LetterKind.REFUSED].count == 1

    def test_is_damaged_if_it_has_not_as_many_rows_as_were_set_aside(self, spool):
        spool.write(lambda db: db.execute("UPDATE dead_letters SET retry = 1, row_count = 2"))
        assert spool.letters.send_again() == {}
        assert [reason for *_, reason, _ in letters(spool)] == ["damaged"] * 3

    def test_stays_what_it_is_if_its_schema_is_lost(self, spool, path, caplog):
        spool.write(lambda db: db.execute("DELETE FROM schemas"))
        retry_all(path)
        assert spool.letters.send_again() == {}
        assert letters(spool) == [(0, 1, "poison", 0), (1, 1, "too_large", 0), (2, 1, "poison", 0)]
        assert "its schema" in caplog.text

    @pytest.mark.parametrize("lost", ["rows", "schema"])
    def test_is_shown_with_what_is_wrong(self, spool, path, lost):
        if lost == "rows":
            damage(path)
        else:
            spool.write(lambda db: db.execute("DELETE FROM schemas"))
        with contextlib.closing(DeadLetters(path)) as found:
            [content] = found.show("row-1")["content"]
            assert found.get("row-1").reason == "poison"
        if lost == "rows":
            assert "checksum" in content["damaged"]
        else:
            assert content == {"undecodable": b"one".hex()}


class TestASalvage:
    @pytest.mark.parametrize("row", [0, 1])
    @pytest.mark.parametrize("lost", ["rows", "schema", "batch"])
    def test_counts_rows_once_that_were_set_aside_before(self, path, row, lost):
        with opened(path) as spool:
            batch = appended(spool, "one", "two", "three")
            spool.letters.set_aside(batch, row, row + 1, reason="poison", error="no")
            if lost == "schema":
                spool.write(lambda db: db.execute("DELETE FROM schemas"))
            if lost == "batch":
                spool.write(lambda db: db.execute("UPDATE batches SET row_count = 'three'"))
        if lost == "rows":
            damage(path, table="batches")
        lose_an_index(path)
        with opened(path) as spool:
            assert damaged_files(path)
            salvage = spool.salvage
            if lost == "batch":
                assert letters(spool) == [(row, 1, "poison", 0)]
                assert (salvage.rows_set_aside, salvage.lost["batches"]) == (0, 1)
            else:
                assert letters(spool) == [(-1, 2, "damaged", 0), (row, 1, "poison", 0)]
                assert (salvage.rows_set_aside, salvage.rows_lost) == (2, 0)
                assert balance(spool) == RowBalance(produced=3, dead_lettered=3)
            assert aside(spool) == 0
            balance(spool)

    def test_of_a_lost_ledger_knows_from_the_letters_what_was_set_aside(self, path):
        with opened(path) as spool:
            batch = appended(spool, "one", "two", "three")
            spool.letters.set_aside(batch, 1, 2, reason="poison", error="no")
            spool.write(lambda db: db.execute("DELETE FROM ledger"))
        damage(path, table="batches")
        lose_an_index(path)
        with opened(path) as spool:
            assert letters(spool) == [(-1, 2, "damaged", 0), (1, 1, "poison", 0)]
            assert balance(spool) == RowBalance(produced=3, dead_lettered=3)

    def test_keeps_nothing_of_a_batch_all_rows_of_which_were_set_aside(self, path):
        with opened(path) as spool:
            batch = appended(spool, "one", "two")
            spool.letters.set_aside(batch, 0, 2, reason="poison", error="no")
        damage(path, table="batches")
        lose_an_index(path)
        with opened(path) as spool:
            assert letters(spool) == [(0, 2, "poison", 0)]
            assert (spool.salvage.rows_set_aside, spool.salvage.rows_lost) == (0, 0)
            assert balance(spool) == RowBalance(produced=2, dead_lettered=2)
            assert aside(spool) == 0


def test_of_a_damaged_batch_all_rows_of_which_were_set_aside_nothing_more_is_kept(path):
    with opened(path) as spool:
        batch = appended(spool, "one", "two")
        spool.letters.set_aside(batch, 0, 2, reason="poison", error="no")
        damage(path, table="batches")
        assert texts_in(spool) == []
        assert letters(spool) == [(0, 2, "poison", 0)]
        assert balance(spool) == RowBalance(produced=2, dead_lettered=2)


def lose_an_index(path):
    """Make the next start take the file for damaged: an index does not fit its table."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        [(page, size)] = db.execute(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size "
            "WHERE name = 'gaps_by_time'"
        )
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * 512)


@pytest.mark.parametrize("reserve", [8 * MIB, 0])
def test_a_damaged_batch_holds_up_no_others_on_a_full_disk(tmp_path, reserve):
    with support.small_disk.small_disk(tmp_path, 64) as disk:
        path = disk.path / "spool.db"
        with opened(path, reserve_bytes=reserve) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            taken = []
            with contextlib.suppress(SpoolDiskFull):
                while len(taken) < 100:
                    rows = random_rows(1000, 1000)
                    taken.append(spool.append(TABLE, rows, schema_id=schema_id).batch_id)
                    if len(taken) == 1:
                        damage(path, table="batches")
            spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # its room is gone, too
            with contextlib.suppress(OSError), (disk.path / "other").open("wb", 0) as other:
                while other.write(bytes(64 * 1024)):
                    pass
            [found] = spool.batches_after(0, 1, table=TABLE)
            assert found.batch_id == taken[1]
            assert bool(letters(spool)) is bool(reserve)
            (disk.path / "other").unlink()
            spool.catch_up()
            assert letters(spool) == [(-1, 1000, "damaged", 0)]
            assert spool.pending_rows(TABLE) == 1000 * (len(taken) - 1)
