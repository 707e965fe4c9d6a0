"""The spool keeps what it was given, refuses what it cannot keep, and says why."""

import contextlib
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.participants import Writes
from support.services import PATIENCE, wait_until
from support.spooled_rows import TABLE, random_rows, rows_of, texts_in

from consumer.errors import (
    SpoolDamaged,
    SpoolDiskFull,
    SpoolError,
    SpoolFull,
    SpoolLocked,
)
from consumer.rows.encoded import EncodedRows
from consumer.spool import NewBatch, Participant, Spool, pages

messages = st.lists(st.binary(max_size=200), max_size=50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "spool.db"


@pytest.fixture
def spool(path):
    with contextlib.closing(Spool.open(path, sync="off")) as opened:
        yield opened


@pytest.fixture
def schema_id(spool):
    return spool.schemas.register(b"descriptor")


def chunks(rows, max_records, max_bytes):
    """Consecutive (start, stop) pieces within both limits, or of one row."""
    start = 0
    while start < len(rows):
        stop = max(rows.stop_within(start, max_records, max_bytes), start + 1)
        yield start, stop
        start = stop


class TestEncodedRows:
    @given(messages, st.booleans())
    def test_a_blob_gives_back_every_row(self, rows, compress):
        blob = EncodedRows.from_messages(rows).to_blob(compress=compress)
        again = EncodedRows.from_blob(blob)
        assert again.slice(0, len(again)) == rows
        assert again.nbytes == sum(map(len, rows))

    @given(messages, st.integers(0, 50), st.integers(0, 50))
    def test_a_part_of_an_array_makes_a_blob_of_that_part(self, rows, start, stop):
        part = pa.array(rows, pa.binary())[start:stop]
        blob = EncodedRows(part).to_blob()
        assert EncodedRows.from_blob(blob).slice(0, len(part)) == rows[start:stop]

    @given(messages, st.integers(1, 10), st.integers(1, 500))
    def test_chunks_hold_every_row_once_and_keep_both_limits(self, rows, max_records, max_bytes):
        encoded = EncodedRows.from_messages(rows)
        seen = []
        for start, stop in chunks(encoded, max_records, max_bytes):
            chunk = encoded.slice(start, stop)
            seen += chunk
            assert 1 <= len(chunk) <= max_records
            assert len(chunk) == 1 or sum(map(len, chunk)) <= max_bytes
        assert seen == rows

    def test_chunks_are_as_large_as_the_limits_allow(self):
        encoded = EncodedRows.from_messages([b"12345"] * 7)
        assert list(chunks(encoded, 3, 1000)) == [(0, 3), (3, 6), (6, 7)]
        assert list(chunks(encoded, 100, 10)) == [(0, 2), (2, 4), (4, 6), (6, 7)]

    def test_a_null_is_no_row(self):
        with pytest.raises(ValueError, match="1 of 2 encoded rows are null"):
            EncodedRows(pa.array([b"x", None], pa.binary()))

    @pytest.mark.parametrize("array", [pa.array(["text"]), pa.array([b"x"], pa.large_binary())])
    def test_another_kind_of_array_is_refused(self, array):
        with pytest.raises(ValueError, match="BinaryArray"):
            EncodedRows(array)

    @pytest.mark.parametrize("compress", [False, True])
    def test_every_changed_byte_is_noticed(self, compress):
        blob = rows_of("alpha", "beta").to_blob(compress=compress)
        for position in range(len(blob)):
            changed = bytearray(blob)
            changed[position] ^= 0x10
            with pytest.raises(SpoolDamaged):
                EncodedRows.from_blob(bytes(changed))

    def test_a_cut_blob_is_noticed(self):
        blob = rows_of("alpha", "beta").to_blob()
        for length in range(len(blob)):
            with pytest.raises(SpoolDamaged):
                EncodedRows.from_blob(blob[:length])


class TestKeeping:
    def test_batches_come_back_in_order_after_a_restart(self, path):
        with contextlib.closing(Spool.open(path)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            for number in range(5):
                spool.append(TABLE, rows_of(f"{number}a", f"{number}b"), schema_id=schema_id)
        with contextlib.closing(Spool.open(path)) as spool:
            assert texts_in(spool) == [f"{number}{row}" for number in range(5) for row in "ab"]
            assert spool.pending_rows(TABLE) == 10
            assert spool.schemas.descriptor(schema_id) == b"descriptor"

    def test_a_batch_id_is_never_given_twice(self, path):
        with contextlib.closing(Spool.open(path)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            first = spool.append(TABLE, rows_of("a"), schema_id=schema_id)
            spool.trim([first.batch_id])
        with contextlib.closing(Spool.open(path)) as spool:
            second = spool.append(TABLE, rows_of("b"), schema_id=schema_id)
            assert second.batch_id > first.batch_id

    def test_trimmed_batches_are_gone_and_the_others_stay(self, spool, schema_id):
        batches = [spool.append(TABLE, rows_of(text), schema_id=schema_id) for text in "abcd"]
        spool.trim([batches[0].batch_id, batches[2].batch_id])
        spool.trim([batches[0].batch_id])
        assert texts_in(spool) == ["b", "d"]
        assert spool.pending_rows(TABLE) == 2

    def test_reading_starts_after_a_batch_and_is_bounded_in_bytes(self, spool, schema_id):
        first, *_ = [
            spool.append(TABLE, random_rows(1, 1000), schema_id=schema_id) for _ in range(5)
        ]
        assert len(spool.batches_after(first.batch_id, 2500, table=TABLE)) == 2
        assert len(spool.batches_after(first.batch_id, 1, table=TABLE)) == 1

    def test_tables_are_read_apart(self, spool, schema_id):
        spool.commit(
            [
                NewBatch(TABLE, schema_id, rows_of("a")),
                NewBatch("main.plant.events", schema_id, rows_of("x", "y")),
                NewBatch(TABLE, schema_id, rows_of("b")),
            ]
        )
        assert texts_in(spool) == ["a", "b"]
        assert spool.pending_rows("main.plant.events") == 2

    def test_a_large_backlog_is_stored_compressed_and_read_the_same(self, path):
        rows = EncodedRows.from_messages([b"the same text again and again " * 10] * 1000)
        with contextlib.closing(Spool.open(path, sync="off", max_bytes=8 << 20)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            for _ in range(100):  # 30 MB of rows in 8 MB
                spool.append(TABLE, rows, schema_id=schema_id)
            found = spool.batches_after(0, 1 << 30, table=TABLE)
            assert all(batch.rows.array.equals(rows.array) for batch in found)
            assert spool.stats().rows == 100_000

    def test_statistics_say_what_waits_and_for_how_long(self, path):
        now = [1000.0]
        with contextlib.closing(Spool.open(path, clock=lambda: now[0])) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            spool.append(TABLE, rows_of("abc", "de"), schema_id=schema_id)
            now[0] = 1007.5
            spool.append(TABLE, rows_of("f"), schema_id=schema_id)
            stats = spool.stats()
            assert (stats.batches, stats.rows, stats.row_bytes) == (2, 3, 6)
            assert stats.oldest_age == 7.5
            assert 0 < stats.used_bytes < stats.max_bytes

    def test_an_appending_and_a_trimming_thread_do_not_disturb_each_other(self, spool, schema_id):
        total, trimmed = 300, []

        def trim_everything():
            after = 0
            while len(trimmed) < total:
                batches = spool.batches_after(after, 1 << 20, table=TABLE)
                ids = [batch.batch_id for batch in batches]
                if ids:
                    after = ids[-1]
                    trimmed.extend(ids)
                    spool.trim(ids)

        thread = threading.Thread(target=trim_everything)
        thread.start()
        appended = [
            spool.append(TABLE, random_rows(10, 100, seed), schema_id=schema_id).batch_id
            for seed in range(total)
        ]
        thread.join(PATIENCE)
        assert trimmed == appended
        assert spool.stats().rows == 0


class TestState:
    def test_state_is_committed_with_its_batch(self, path):
        with contextlib.closing(Spool.open(path)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            state = {"arrival_number": 2**62, "client_id": "c-1"}
            spool.append(TABLE, rows_of("a"), schema_id=schema_id, state=state)
            spool.state.set("own_state_timestamp", 1.5)
        with contextlib.closing(Spool.open(path)) as spool:
            assert spool.state.get("arrival_number") == 2**62
            assert spool.state.get("client_id") == "c-1"
            assert spool.state.get("own_state_timestamp") == 1.5
            assert spool.state.get("unknown") is None

    def test_a_refused_batch_leaves_its_state_unwritten(self, spool):
        spool.state.set("arrival_number", 7)
        with pytest.raises(SpoolError, match="never added"):
            spool.append(TABLE, rows_of("a"), schema_id="nobody", state={"arrival_number": 8})
        assert spool.state.get("arrival_number") == 7
        assert spool.stats().rows == 0


class TestRoom:
    def test_a_full_spool_refuses_and_takes_again_after_a_trim(self, path):
        with contextlib.closing(Spool.open(path, sync="off", max_bytes=30 << 20)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            taken = []

            def fill():
                while len(taken) < 100:
                    batch = spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id)
                    taken.append(batch.batch_id)

            with pytest.raises(SpoolFull, match=r"\(spool\.max_bytes\)") as refused:
                fill()
            assert not isinstance(refused.value, SpoolDiskFull)
            assert spool.stats().batches == len(taken) > 5
            assert spool.stats().used_bytes <= 30 << 20
            spool.trim(taken[:2])
            spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id)

    def test_a_full_disk_is_told_apart_and_loses_nothing(self, spool, schema_id):
        kept = spool.append(TABLE, rows_of("kept"), schema_id=schema_id)
        [(pages,)] = spool._db.execute("PRAGMA page_count")
        spool._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite: no room on disk
        with pytest.raises(SpoolDiskFull, match="free some space"):
            spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id, state={"n": 1})
        assert texts_in(spool) == ["kept"]
        assert spool.state.get("n") is None
        spool.trim([kept.batch_id])
        assert spool.stats().rows == 0

    def test_the_file_does_not_grow_under_steady_traffic(self, spool, schema_id, path):
        waiting = []
        sizes = []
        for number in range(400):
            waiting.append(spool.append(TABLE, random_rows(100, 1000), schema_id=schema_id))
            if len(waiting) == 10:
                spool.trim([batch.batch_id for batch in waiting])
                waiting = []
            if number % 100 == 99:
                sizes.append(path.stat().st_size)
        assert sizes[-1] == sizes[1]
        assert sizes[-1] < 4 << 20  # 40 MB went through

    def test_after_an_outage_the_disk_gets_its_space_back(
        self, spool, schema_id, path, monkeypatch
    ):
        monkeypatch.setattr(pages, "_VACUUM_FROM_BYTES", 1 << 20)
        backlog = [
            spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id) for _ in range(20)
        ]
        for batch in backlog:
            spool.trim([batch.batch_id])
        for _ in range(10):
            batch = spool.append(TABLE, rows_of("a"), schema_id=schema_id)
            spool.trim([batch.batch_id])
        spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert path.stat().st_size < 3 << 20


class TestOpening:
    @pytest.mark.usefixtures("spool")
    def test_rows_are_for_the_owner_only(self, path):
        assert path.stat().st_mode & 0o777 == 0o600

    @pytest.mark.usefixtures("spool")
    def test_a_second_consumer_is_told_who_has_it(self, path):
        code = "import sys; from consumer.spool import Spool; Spool.open(sys.argv[1])"
        result = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
        assert result.returncode != 0
        assert "SpoolLocked" in result.stderr
        assert f"in use by another consumer (process {os.getpid()})" in result.stderr
        with pytest.raises(SpoolLocked):
            Spool.open(path)

    def test_closing_lets_the_next_consumer_in(self, path):
        for _ in range(2):
            spool = Spool.open(path)
            spool.close()
            spool.close()
        with pytest.raises(SpoolError, match="closed"):
            spool.schemas.register(b"descriptor")

    def test_a_killed_consumer_loses_nothing_it_had_appended(self, path):
        code = """if True:
            import itertools, sys
            from consumer.rows.encoded import EncodedRows
            from consumer.spool import Spool
            spool = Spool.open(sys.argv[1])
            schema_id = spool.schemas.register(b"descriptor")
            for number in itertools.count():
                rows = EncodedRows.from_messages([str(number).encode()] * 200)
                spool.append("main.plant.tag_events", rows, schema_id=schema_id)
                print(number, flush=True)
        """
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            seen = [int(process.stdout.readline()) for _ in range(50)]
            process.send_signal(signal.SIGKILL)
            seen += [int(line) for line in process.stdout if line.endswith("\n")]
        with contextlib.closing(Spool.open(path)) as spool:  # the lock died with its process
            kept = [int(text) for text in texts_in(spool)[::200]]
        assert kept[: len(seen)] == seen
        assert len(kept) <= len(seen) + 1  # at most the one that was not told yet

    def test_another_programs_database_is_left_alone(self, path):
        path.parent.mkdir()
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE theirs (x)")
            other.commit()
        before = path.read_bytes()
        with pytest.raises(SpoolError, match="another program, not a spool"):
            Spool.open(path)
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database_is_left_alone(self, path):
        path.parent.mkdir()
        path.write_text("servers:\n  - name: plant-a\n" * 100)
        with pytest.raises(SpoolError, match=r"spool\.db is not an SQLite file: point spool.path"):
            Spool.open(path)
        assert path.read_text().startswith("servers")

    def test_a_newer_releases_spool_is_left_alone(self, path):
        Spool.open(path).close()
        with contextlib.closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        with pytest.raises(SpoolError, match="newer release"):
            Spool.open(path)

    def test_a_directory_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SpoolError, match=r"spool\.path"):
            Spool.open(tmp_path / "file" / "spool.db")

    def test_a_failed_opening_does_not_keep_the_lock(self, path):
        path.parent.mkdir()
        path.write_bytes(b"x" * 5000)
        for _ in range(2):
            with pytest.raises(SpoolError, match="not an SQLite file"):
                Spool.open(path)


class TestDamage:
    def test_a_damaged_batch_is_set_aside_and_reported_not_skipped(self, path, caplog):
        with contextlib.closing(Spool.open(path)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            for text in ("one", "two", "three"):
                spool.append(TABLE, rows_of(text), schema_id=schema_id)
        with contextlib.closing(sqlite3.connect(path)) as other:
            [(blob,)] = other.execute("SELECT rows FROM batches WHERE batch_id = 2")
            other.execute(
                "UPDATE batches SET rows = ? WHERE batch_id = 2", (blob.replace(b"two", b"twO"),)
            )
            other.commit()
        with contextlib.closing(Spool.open(path)) as spool:
            assert texts_in(spool) == ["one", "three"]
            assert spool.stats().dead_letters == 1
            assert spool.pending_rows(TABLE) == 2
        assert "spooled batch 2 (1 rows for main.plant.tag_events) is damaged" in caplog.text
        with contextlib.closing(sqlite3.connect(path)) as other:
            [(reason, kept)] = other.execute("SELECT reason, rows FROM dead_letters")
        assert reason == "damaged"
        assert b"twO" in kept

    def test_rows_set_aside_by_hand_are_kept_once(self, spool, schema_id):
        batch = spool.append(TABLE, rows_of("good", "bad", "fine"), schema_id=schema_id)
        for _ in range(2):  # the second time after a crash, before the batch was trimmed
            spool.letters.set_aside(
                batch, 1, 2, reason="too_large", error="larger than a message may be"
            )
        assert spool.stats().dead_letters == 1
        spool.trim([batch.batch_id])
        [(first_row, blob)] = spool._db.execute("SELECT first_row, rows FROM dead_letters")
        assert first_row == 1
        assert EncodedRows.from_blob(blob).slice(0, 1) == [b"bad"]


def test_a_reader_of_another_program_does_not_stop_the_consumer(spool, schema_id, path):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        cursor = reader.execute("SELECT count(*) FROM batches")
        spool.append(TABLE, rows_of("b"), schema_id=schema_id)
        assert cursor.fetchone() == (1,)
    wait_until(lambda: texts_in(spool) == ["a", "b"])


class TestDeadLetters:
    @pytest.fixture
    def small(self, path):
        options = {"sync": "off", "max_dead_letter_bytes": 20_000}
        with contextlib.closing(Spool.open(path, **options)) as opened:
            yield opened

    @staticmethod
    def put(spool, batch, start):
        return spool.letters.set_aside(batch, start, start + 1, reason="poison", error="refused")

    @pytest.fixture
    def batch(self, small):
        schema_id = small.schemas.register(b"descriptor")
        return small.append(TABLE, random_rows(20, 1_000), schema_id=schema_id)

    def test_beyond_their_bound_new_ones_are_dropped_counted_and_said(self, small, batch, caplog):
        kept = [self.put(small, batch, row) for row in range(20)]
        assert kept == [True] * 9 + [False] * 11
        assert small.letters.dropped == 11
        stats = small.stats()
        assert stats.dead_letters == 9
        assert 9_000 < stats.dead_letter_bytes <= 10_000
        [text] = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert "spool.max_dead_letter_bytes" in text
        assert "poison: refused" in text

    def test_one_that_was_kept_before_a_crash_is_not_dropped(self, small, batch):
        for row in range(9):
            self.put(small, batch, row)
        assert not self.put(small, batch, 3)
        assert small.letters.dropped == 0

    def test_nobody_sees_rows_sent_again_before_they_are_counted(self, small, batch, monkeypatch):
        self.put(small, batch, 0)
        small.write(lambda db: db.execute("UPDATE dead_letters SET retry = 1"))
        insert, seen = small._batches.note_inserted, []

        def count_while_somebody_looks(*batch) -> None:
            def look() -> None:
                seen.append(small._file._mutex.acquire(timeout=0.05))
                if seen[-1]:
                    small._file._mutex.release()

            other = threading.Thread(target=look)
            other.start()
            other.join()
            insert(*batch)

        monkeypatch.setattr(small._batches, "note_inserted", count_while_somebody_looks)
        assert small.letters.send_again() == {TABLE: 1}
        assert seen == [False]

    def test_there_is_room_again_when_some_are_dropped_by_hand(self, small, batch, path):
        for row in range(19):
            self.put(small, batch, row)
        with contextlib.closing(sqlite3.connect(path)) as other:  # `deadletter drop`
            other.execute("DELETE FROM dead_letters WHERE first_row < 5")
            other.commit()
        assert small.stats().dead_letters == 4
        assert self.put(small, batch, 19)

    def test_they_never_take_more_than_a_quarter_of_the_spool(self, path):
        with contextlib.closing(Spool.open(path, sync="off", max_bytes=16 << 20)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            batch = spool.append(TABLE, random_rows(6, 1 << 20), schema_id=schema_id)
            assert [self.put(spool, batch, row) for row in range(6)] == [True] + [False] * 5
            assert sum(share.max_bytes for share in spool.letters.shares().values()) == 4 << 20

    def test_many_that_are_sent_again_are_sent_in_portions(self, path):
        with contextlib.closing(Spool.open(path, sync="off")) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            batch = spool.append(TABLE, random_rows(20, 1 << 20), schema_id=schema_id)
            for row in range(20):
                self.put(spool, batch, row)
            spool.trim([batch.batch_id])
            spool.write(lambda db: db.execute("UPDATE dead_letters SET retry = 1"))
            first = spool.letters.send_again()[TABLE]
            assert 10 < first < 20
            assert spool.letters.send_again() == {TABLE: 20 - first}
            assert spool.letters.send_again() == {}
            assert spool.pending_rows(TABLE) == 20
            assert spool.stats().dead_letters == 0


class TestSmallSpool:
    def test_the_log_of_a_small_spool_leaves_room_for_rows(self, path):
        with contextlib.closing(Spool.open(path, sync="off", max_bytes=16 << 20)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            for seed in range(200):  # 40 MB went through
                rows = random_rows(200, 1_000, seed)
                batch = spool.append(TABLE, rows, schema_id=schema_id)
                spool.trim([batch.batch_id])
            assert path.with_name("spool.db-wal").stat().st_size <= 2 << 20
            assert spool.stats().used_bytes < 4 << 20

    def test_the_last_room_is_for_what_must_not_be_lost(self, path):
        with contextlib.closing(Spool.open(path, sync="off", max_bytes=16 << 20)) as spool:
            schema_id = spool.schemas.register(b"descriptor")
            batches = [NewBatch(TABLE, schema_id, random_rows(1, 100_000))]

            def fill(*, spare):
                for number in range(1_000):
                    with contextlib.suppress(SpoolFull):
                        spool.commit(batches, spare=spare)
                        continue
                    return number
                return math.inf

            assert 100 < fill(spare=False) < 160
            assert spool.stats().is_full
            assert 0 < fill(spare=True) < 20
            assert spool.stats().used_bytes <= 16 << 20
            spool.commit([], state={"n": 1})
            assert not spool.space.has_room()


class Heard(Participant):
    """Notes what it hears; `fails` so many times when it is to write."""

    def __init__(self, fails=0):
        self.fails = fails
        self.heard = []

    @property
    def state(self):
        return {"of the participant": len(self.heard)}

    def write(self, db, room):
        self.heard.append("write")
        assert room() > 0
        db.execute("INSERT OR REPLACE INTO state VALUES ('by its write', 1)")
        if self.fails:
            self.fails -= 1
            raise SpoolDiskFull("no space left")

    def committed(self):
        self.heard.append("committed")

    def failed(self):
        self.heard.append("failed")


def test_who_takes_part_in_a_commit_writes_beside_it_and_hears_what_became_of_it(spool):
    heard = Heard()
    spool.commit([], [heard], state={"given": 2})
    assert heard.heard == ["write", "committed"]
    kept = [spool.state.get(key) for key in ("of the participant", "given", "by its write")]
    assert kept == [0, 2, 1]


def test_who_takes_part_in_a_commit_that_fails_has_written_nothing_and_hears_it(spool):
    first, second = Heard(), Heard()
    with pytest.raises(ZeroDivisionError):
        spool.commit([], [first, Writes(lambda _: 1 // 0), second], state={"given": 2})
    assert first.heard == ["write", "failed"]
    assert second.heard == ["failed"]
    assert spool.state.get("given") is None
    assert spool.state.get("by its write") is None


def test_a_commit_that_is_tried_again_on_a_full_disk_is_written_twice_and_heard_of_once(spool):
    heard = Heard(fails=1)
    spool.commit([], [heard])
    assert heard.heard == ["write", "write", "committed"]
