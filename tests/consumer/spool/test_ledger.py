"""The ledger's bookkeeping, and what the spool's own changes book."""

from __future__ import annotations

import pytest
from support.participants import Writes
from support.read_spool import read_from
from support.tag_events import DESCRIPTOR, TABLE, event

from consumer.rows.encoded import EncodedRows
from consumer.spool import NewBatch, Spool, layout
from consumer.spool import file as spool_file
from consumer.spool.balance import MessageBalance, RowBalance, read_balance
from consumer.spool.dead_letters import DeadLetters
from consumer.spool.fleet import FleetStore
from consumer.spool.ledger import Ledger
from sparkplug.decoded import Decoded
from sparkplug.host.nodes.waiting import HeldMessage
from sparkplug.messages import Message, Quarantined, QuarantinedPart, Reason

GIB = 1 << 30
SERVER = "plant-a"
DATA = Message("spBv1.0/Plant/NDATA/Edge", b"\x18\x05", 7)


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db")
    yield spool
    spool.close()


class Books:
    """A ledger and its spool, with the rows of one table and the messages of one server."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.ledger = Ledger()
        self.schema_id = spool.schemas.register(DESCRIPTOR)

    def append(self, rows: int, suppressed: int = 0):
        """Commit a batch of rows."""
        self.ledger.rows(TABLE, rows + suppressed, suppressed)
        encoded = EncodedRows.from_messages([event(number) for number in range(rows)])
        [batch] = self.spool.commit([NewBatch(TABLE, self.schema_id, encoded)], [self.ledger])
        return batch

    def receive(self, count: int, held: int = 0, **fields) -> Decoded:
        """Take in messages, without a commit."""
        self.ledger.received(SERVER, count)
        decoded = Decoded(**fields)
        self.ledger.messages(SERVER, decoded, held)
        return decoded

    def commit(self, decoded: Decoded) -> None:
        def write(db):
            FleetStore(SERVER, GIB).write_dead(db, decoded.quarantined + decoded.expired, GIB)
            self.ledger.write(db)

        self.spool.write(write)
        self.ledger.committed()

    @property
    def balance(self):
        waiting, spooled = self.ledger.waiting(), self.spool.pending()
        found = read_from(self.spool, lambda db: read_balance(db, waiting, spooled))
        assert found == read_from(self.spool, lambda db: read_balance(db, waiting))
        return found

    @property
    def rows(self) -> RowBalance:
        rows = self.balance.rows[TABLE]
        assert rows.difference == 0, rows
        return rows

    @property
    def messages(self) -> MessageBalance:
        messages = self.balance.messages[SERVER]
        assert messages.difference == 0, messages
        return messages


@pytest.fixture
def books(spool):
    return Books(spool)


# Rows


def test_rows_are_spooled_until_they_are_trimmed_and_acknowledged_from_then_on(books):
    first = books.append(10, suppressed=2)
    books.append(5)
    assert books.rows == RowBalance(produced=17, spooled=15, suppressed=2)
    books.spool.trim([first.batch_id])
    books.spool.trim([first.batch_id])  # again after a crash: nothing is there
    assert books.rows == RowBalance(produced=17, acknowledged=10, spooled=5, suppressed=2)


def test_a_row_that_is_set_aside_counts_once_before_and_after_its_batch_is_trimmed(books):
    batch = books.append(10)
    assert books.spool.letters.set_aside(batch, 3, 4, reason="poison", error="")
    assert not books.spool.letters.set_aside(batch, 3, 4, reason="poison", error="")
    assert books.rows == RowBalance(produced=10, spooled=9, dead_lettered=1)
    books.spool.trim([batch.batch_id])
    assert books.rows == RowBalance(produced=10, acknowledged=9, dead_lettered=1)


def test_a_letter_that_is_dropped_before_its_batch_is_trimmed_does_not_come_back(books):
    batch = books.append(10)
    books.spool.letters.set_aside(batch, 3, 4, reason="poison", error="")
    letters = DeadLetters(books.spool.path)
    assert letters.drop(["row-1", "row-7"]) == 1
    letters.close()
    dropped = {"dropped_by_hand": 1}
    assert books.rows == RowBalance(produced=10, spooled=9, dropped=dropped)
    assert not books.spool.letters.set_aside(batch, 3, 4, reason="poison", error="")
    books.spool.trim([batch.batch_id])
    assert books.rows == RowBalance(produced=10, acknowledged=9, dropped=dropped)


def test_a_letter_that_is_sent_again_is_spooled_and_then_acknowledged(books):
    batch = books.append(10)
    books.spool.letters.set_aside(batch, 3, 5, reason="poison", error="")
    letters = DeadLetters(books.spool.path)
    letters.retry(["row-1"])
    letters.close()
    assert books.spool.letters.send_again() == {TABLE: 2}
    assert books.rows == RowBalance(produced=10, spooled=10)
    books.spool.trim([batch.batch_id])
    assert books.rows == RowBalance(produced=10, acknowledged=8, spooled=2)
    books.spool.trim([batch.batch_id + 1])
    assert books.rows == RowBalance(produced=10, acknowledged=10)


@pytest.mark.parametrize("aside", [None, 0, 4])
def test_the_rows_of_a_damaged_batch_are_dead_letters(books, aside):
    batch = books.append(10)
    if aside is not None:
        books.spool.letters.set_aside(batch, aside, aside + 1, reason="poison", error="")
    books.spool.write(lambda db: db.execute("UPDATE batches SET rows = x'00112233'"))
    assert books.spool.batches_after(0, 1 << 20, table=TABLE) == []
    assert books.rows == RowBalance(produced=10, dead_lettered=10)


# Messages


def test_quarantined_messages_are_those_that_are_kept(books):
    parts = [QuarantinedPart(DATA, Reason.UNKNOWN_ALIAS)] * 3
    books.commit(
        books.receive(
            152,
            read=2,
            quarantined=[
                *[Quarantined(DATA, Reason.BAD_PAYLOAD)] * 150,
                *parts,
            ],
        )
    )
    # A hundred are kept of one batch.
    assert books.messages == MessageBalance(152, 2, 0, 100, {"dead_letters_full": 50})
    letters = DeadLetters(books.spool.path)
    letters.drop(["message-1", "message-2"])
    letters.close()
    discarded = {"dead_letters_full": 50, "dropped_by_hand": 2}
    assert books.messages == MessageBalance(152, 2, 0, 98, discarded)


def test_parts_of_messages_that_were_read_are_no_messages(books):
    parts = [QuarantinedPart(DATA, Reason.UNKNOWN_ALIAS)] * 3
    books.commit(books.receive(2, read=2, expired=parts))
    assert books.messages == MessageBalance(2, 2)
    letters = DeadLetters(books.spool.path)
    letters.retry(["message-1"])
    letters.drop(["message-2"])
    letters.close()
    [again] = books.spool.write(lambda db: FleetStore(SERVER, GIB).take_retries(db))
    assert again.counted
    assert books.messages == MessageBalance(2, 2)


def test_a_dead_message_that_is_retried_is_held(books):
    books.commit(books.receive(1, expired=[Quarantined(DATA, Reason.DATA_BEFORE_BIRTH)]))
    letters = DeadLetters(books.spool.path)
    letters.retry(["message-1"])
    letters.close()
    assert len(books.spool.write(lambda db: FleetStore(SERVER, GIB).take_retries(db))) == 1
    books.ledger.held_again(SERVER, 1)
    assert books.messages == MessageBalance(received=1, held=1)
    books.commit(books.receive(0, read=1))
    assert books.messages == MessageBalance(received=1, decoded=1)


def test_a_lost_batch_is_discarded_except_for_what_waits(books):
    books.receive(10, held=3, read=5, quarantined=[Quarantined(DATA, Reason.BAD_PAYLOAD)])
    books.receive(1).discarded[Reason.COMMAND] += 1
    books.ledger.messages(SERVER, Decoded(discarded={Reason.COMMAND: 1}), held=3)
    books.ledger.rows(TABLE, 20, suppressed=4)
    books.ledger.lose("spool_full", {SERVER: 4})
    assert books.messages == MessageBalance(11, 0, 4, 0, {"command": 1, "spool_full": 6})
    assert books.rows == RowBalance(produced=20, dropped={"spool_full": 16}, suppressed=4)


def test_what_waits_for_a_commit_is_written_once(books):
    books.ledger.refuse(SERVER, "queue_full")
    books.receive(2, read=2)
    books.ledger.postpone()
    assert books.messages == MessageBalance(3, 2, 0, 0, {"queue_full": 1})
    with pytest.raises(ZeroDivisionError):
        books.spool.commit([], [books.ledger, Writes(lambda _: 1 // 0)])
    assert books.ledger.waiting()
    books.spool.write(books.ledger.write)
    books.ledger.refuse(SERVER, "queue_full")  # while the commit went on
    books.ledger.committed()
    assert books.messages == MessageBalance(4, 2, 0, 0, {"queue_full": 2})
    books.append(1)
    assert not books.ledger.waiting()
    assert books.messages == MessageBalance(4, 2, 0, 0, {"queue_full": 2})


def test_what_waited_and_is_not_restored_is_lost_and_known(books):
    books.commit(books.receive(5, held=5))
    books.ledger = Ledger()
    assert books.spool.write(lambda db: books.ledger.restored(db, SERVER, 2)) == 3
    assert books.messages == MessageBalance(5, 0, 2, 0, {"lost_when_killed": 3})
    books.commit(books.receive(0, read=2))
    assert books.messages == MessageBalance(5, 2, 0, 0, {"lost_when_killed": 3})


def test_what_is_restored_a_second_time_was_received_a_second_time(books):
    books.commit(books.receive(1, held=1))
    assert books.spool.write(lambda db: books.ledger.restored(db, SERVER, 3)) == 0
    assert books.messages == MessageBalance(received=3, held=3)


def test_what_was_lost_is_known_also_where_nothing_can_be_written_yet(books):
    books.commit(books.receive(5, held=5))
    books.ledger = Ledger()
    assert read_from(books.spool, lambda db: books.ledger.restored(db, SERVER, 2, later=True)) == 3
    assert books.messages == MessageBalance(5, 0, 2, 0, {"lost_when_killed": 3})
    [(held,)] = read_from(
        books.spool,
        lambda db: db.execute("SELECT amount FROM ledger WHERE account = 'held'").fetchall(),
    )
    assert held == 5  # for a run that begins before it is written
    books.commit(books.receive(1, held=3))
    assert books.messages == MessageBalance(6, 0, 3, 0, {"lost_when_killed": 3})
    assert not books.ledger.waiting()


# An older file


def test_what_an_earlier_release_left_opens_the_ledger(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(layout, "SCHEMA_VERSION", 2)
        older.setattr(layout, "ADDED", {2: layout.ADDED[2]})
        connection = spool_file.connect(tmp_path / "spool.db", "full")
        held = (SERVER, DATA.topic, DATA.payload, 1, None, Reason.DATA_BEFORE_BIRTH.value)
        connection.execute(
            "INSERT INTO held (server, topic, payload, received_us, device_id, reason) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            held,
        )
        connection.execute("INSERT INTO schemas VALUES ('id', ?)", (DESCRIPTOR,))
        blob = EncodedRows.from_messages([event(1)]).to_blob()
        connection.execute("INSERT INTO batches VALUES (1, ?, 'id', 0, 1, 10, ?)", (TABLE, blob))
        connection.close()
    spool = Spool.open(tmp_path / "spool.db")
    books = Books(spool)
    assert books.rows == RowBalance(produced=1, spooled=1)
    assert books.messages == MessageBalance(received=1, held=1)
    [held] = read_from(spool, lambda db: FleetStore(SERVER, GIB).take_held(db))
    assert held == HeldMessage(DATA._replace(received_us=1), None, Reason.DATA_BEFORE_BIRTH, kept=1)
    spool.close()
