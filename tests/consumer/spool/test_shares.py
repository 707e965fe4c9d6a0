"""What anybody may publish does not push rows that Zerobus refuses out of the dead letters."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from support.participants import Writes
from support.read_spool import read_from
from support.spooled_rows import TABLE, random_rows

from consumer.log_budget import LogBudget
from consumer.spool import LetterKind, NewBatch, Spool
from consumer.spool.fleet import FleetStore
from consumer.spool.types import Origin
from sparkplug.messages import Message, Quarantined, Reason

MIB = 1 << 20
GIB = 1 << 30
MOST = 4 * MIB


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def opened(path):
    options = {"sync": "off", "max_bytes": 64 * MIB, "max_dead_letter_bytes": MOST}
    return contextlib.closing(Spool.open(path, **options))


def set_aside(spool, reason, count, size=MIB // 4, *, payload=None):
    """So many rows; returns which of them are kept."""
    schema_id = spool.schemas.register(b"descriptor")
    batch = spool.append(TABLE, random_rows(count, size), schema_id=schema_id)
    kept = [
        spool.letters.set_aside(
            batch, row, row + 1, reason=reason, error="no", origin=Origin("t", payload)
        )
        for row in range(count)
    ]
    spool.trim([batch.batch_id])
    return kept


def cannot_read(spool, count, size=MIB // 4):
    """So many messages that nobody can read; returns how many were not kept."""
    store = FleetStore("plant", 64 * MIB, MOST)
    message = Message("spBv1.0/Plant/NDATA/Edge", b"?" * size, 5)
    lost, dead = [], [Quarantined(message, Reason.BAD_PAYLOAD)]
    for _ in range(count):
        spool.commit(
            [], [Writes(lambda db: lost.append(store.write_dead(db, dead, spool.space.room())))]
        )
    return sum(lost)


def sizes(spool):
    return {kind: share.size for kind, share in spool.letters.shares().items()}


def test_oversized_rows_leave_refused_ones_their_room(path):
    with opened(path) as spool:
        assert set_aside(spool, "too_large", 8) == [True] * 3 + [False] * 5
        assert set_aside(spool, "poison", 8) == [True] * 7 + [False]


def test_refused_rows_leave_oversized_ones_their_room(path):
    with opened(path) as spool:
        assert not all(set_aside(spool, "poison", 20))
        assert set_aside(spool, "too_large", 3) == [True] * 3


def test_messages_that_cannot_be_read_take_a_quarter_and_no_row_leaves_for_them(path):
    with opened(path) as spool:
        assert all(set_aside(spool, "poison", 7))
        assert all(set_aside(spool, "too_large", 3))
        before = sizes(spool)
        cannot_read(spool, 40)
        after = sizes(spool)
        assert before.pop(LetterKind.UNREADABLE) == 0
        assert MOST // 4 - MIB // 4 < after.pop(LetterKind.UNREADABLE) <= MOST // 4
        assert after == before
        assert set_aside(spool, "poison", 1, MIB // 8) == [True]


def test_shares_hold_over_a_restart(path):
    with opened(path) as spool:
        assert set_aside(spool, "too_large", 3) == [True] * 3
        set_aside(spool, "poison", 3)
        cannot_read(spool, 3)
        before = sizes(spool)
    with opened(path) as spool:
        assert sizes(spool) == before
        assert set_aside(spool, "too_large", 1) == [False]
        assert set_aside(spool, "poison", 4) == [True] * 4


def test_a_file_in_which_oversized_rows_have_all_the_room_takes_refused_ones(path):
    """An earlier release let them."""
    with opened(path) as spool:
        set_aside(spool, "poison", 7)
    with contextlib.closing(sqlite3.connect(path)) as earlier:
        earlier.execute("UPDATE dead_letters SET reason = 'too_large'")
        earlier.commit()
    with opened(path) as spool:
        assert sizes(spool)[LetterKind.OVERSIZED] > MOST // 4
        assert set_aside(spool, "too_large", 1) == [False]
        assert set_aside(spool, "poison", 2) == [True, True]


def test_what_is_dropped_is_counted_and_said_by_kind(path, caplog):
    with opened(path) as spool:
        set_aside(spool, "too_large", 8)
        set_aside(spool, "poison", 9)
        shares = spool.letters.shares()
        assert (shares[LetterKind.OVERSIZED].dropped, shares[LetterKind.REFUSED].dropped) == (5, 2)
        assert spool.letters.dropped == 7
    texts = [r.getMessage() for r in caplog.records if "no room" in r.getMessage()]
    assert [text.partition(" rows (")[0].split()[-1] for text in texts] == ["oversized", "refused"]


def test_a_row_without_room_for_its_payload_is_kept_without_it(path):
    with opened(path) as spool:
        payload = b"x" * (MIB * 3 // 2)
        assert set_aside(spool, "poison", 3, 1_000, payload=payload) == [True] * 3
        query = "SELECT payload IS NOT NULL, topic FROM dead_letters ORDER BY 1 DESC"
        kept = read_from(spool, lambda db: db.execute(query).fetchall())
        assert kept == [(1, "t"), (0, "t"), (0, "t")]


def test_a_transaction_that_is_taken_back_leaves_the_count_as_it_was(path):
    with opened(path) as spool:
        set_aside(spool, "too_large", 2)
        before = sizes(spool)

        def fail(db):
            db.execute("DELETE FROM dead_letters")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            spool.commit(
                [NewBatch(TABLE, spool.schemas.register(b"descriptor"), random_rows(1, 10))],
                [Writes(fail)],
            )
        assert sizes(spool) == before


def test_dropped_ones_are_said_once_a_minute_for_each_kind(path, caplog):
    now = [0.0]
    budget = LogBudget(lambda: now[0])
    options = {"sync": "off", "max_dead_letter_bytes": 20_000, "log_budget": budget}
    with contextlib.closing(Spool.open(path, **options)) as spool:
        set_aside(spool, "too_large", 20, 1_000)
        set_aside(spool, "poison", 20, 1_000)
        now[0] = 60.0
        set_aside(spool, "poison", 1, 1_000)
    texts = [text for text in caplog.messages if "no room for more" in text]
    assert [text.partition(" of them were")[0].split()[-1] for text in texts] == ["1", "1", "12"]
    assert budget.left_out == {"dead_letters_full": 25}


def test_many_damaged_batches_are_some_lines(path, caplog):
    budget = LogBudget(lambda: 0.0)
    with contextlib.closing(Spool.open(path, sync="off", log_budget=budget)) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        for number in range(30):
            spool.append(TABLE, random_rows(1, 100, number), schema_id=schema_id)
        spool.write(lambda db: db.execute("UPDATE batches SET rows = substr(rows, 1, 60)"))
        assert spool.batches_after(0, GIB, table=TABLE) == []
        assert spool.stats().dead_letters == 30
    assert len([text for text in caplog.messages if "is damaged and was set aside" in text]) == 10
    assert budget.left_out == {"damaged_batch": 20}


def test_one_message_that_is_too_long_leaves_room_for_others_of_its_batch(path):
    long, short = (Message("spBv1.0/Plant/NDATA/Edge", b"?" * size, 5) for size in (5 * MIB, 10))
    dead = [Quarantined(each, Reason.BAD_PAYLOAD) for each in (long, short)]
    lost = []
    with opened(path) as spool:
        store = FleetStore("plant", 64 * MIB, MOST)
        spool.commit(
            [], [Writes(lambda db: lost.append(store.write_dead(db, dead, spool.space.room())))]
        )
        assert lost == [1]
        assert spool.letters.shares()[LetterKind.UNREADABLE].count == 1


def test_without_any_room_nothing_is_kept_and_all_is_counted(path):
    with contextlib.closing(Spool.open(path, max_dead_letter_bytes=0)) as spool:
        assert set_aside(spool, "poison", 2, 10) == [False, False]
        store = FleetStore("plant", GIB, 0)
        dead = [Quarantined(Message("t", b"?", 5), Reason.BAD_PAYLOAD)]
        lost = []
        spool.commit(
            [], [Writes(lambda db: lost.append(store.write_dead(db, dead, spool.space.room())))]
        )
        assert (lost, spool.letters.dropped) == ([1], 2)
