"""A batch that gives many bytes of rows is committed piece by piece, and all of it counts."""

from __future__ import annotations

import shutil

import pytest
from support.columnar import change, message, tag
from support.spooled_by import MAIN, after_each_commit, balance, numbered, rows_of
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.errors import SpoolFull
from consumer.pipeline import commits
from consumer.rows import TagEvents
from sparkplug.messages import Message, MessageBatch

TAGS = 300
NAMES = [f"{number:04}{'x' * 1000}" for number in range(TAGS)]
SENT = 1_795_443_214_000


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """Fifty rows or so."""
    monkeypatch.setattr(commits, "_PIECE_BYTES", 100_000)
    monkeypatch.setattr("consumer.rows.tag_events._PIECE_BYTES", 50_000)


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path) as made:
        yield made


def birth(sent=SENT):
    metrics = [tag(name, alias, 1.0) for alias, name in enumerate(NAMES)]
    return message("NBIRTH", *metrics, timestamp=sent)


def data(seq, value):
    metrics = [change(alias, value) for alias in range(TAGS)]
    return message("NDATA", *metrics, seq=seq, timestamp=SENT)


def take(consumer, *messages):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))


def test_a_batch_is_committed_in_pieces_and_none_of_them_is_large(consumer):
    seen = []

    def look(_number):
        kept = consumer.spool.batches_after(0, 1 << 30, table=MAIN)
        seen.append(sum(batch.rows.nbytes for batch in kept))

    with after_each_commit(consumer, look):
        take(consumer, birth(), data(1, 2.0))
    grown = [after - before for before, after in zip([0, *seen], seen, strict=False)]
    assert len(grown) > 5
    assert max(grown) <= 150_000
    rows = rows_of(consumer)
    assert numbered(rows)
    assert [row.metric_name for row in rows] == NAMES * 2
    assert balance(consumer).balanced


def test_a_batch_in_pieces_gives_the_rows_that_it_gives_as_a_whole(tmp_path, monkeypatch):
    found = []
    for size in (100_000, 1 << 30):
        monkeypatch.setattr(commits, "_PIECE_BYTES", size)
        with unconnected(tmp_path / str(size)) as consumer:
            take(consumer, birth(), data(1, 2.0), message("NDEATH", timestamp=SENT, seq=None))
            rows = rows_of(consumer)
            for row in rows:
                row.arrival_number -= consumer.commits.next_arrival
            found.append((rows, consumer.sources[0].written_sequence, balance(consumer).to_dict()))
    assert found[0] == found[1]


def test_the_ledger_adds_up_after_every_piece(consumer):
    balances = []
    with after_each_commit(consumer, lambda _: balances.append(balance(consumer))):
        take(consumer, birth(), data(1, 2.0))
    assert len(balances) > 5
    assert all(each.balanced for each in balances)
    assert [each.messages for each in balances[:-1]] == [{}] * (len(balances) - 1)
    assert balances[-1].messages["plant"].decoded == 2


@pytest.mark.parametrize("death", [False, True], ids=["data", "death"])
@pytest.mark.parametrize("killed_after", range(1, 5))
def test_who_is_killed_between_two_pieces_has_heard_nothing_of_the_batch(
    tmp_path, killed_after, death
):
    last = message("NDEATH", timestamp=SENT, seq=None) if death else data(1, 2.0)
    with unconnected(tmp_path) as consumer:
        take(consumer, birth())
        before = consumer.sources[0].written_sequence
        whole = len(rows_of(consumer))

        def kill(number):
            if number == killed_after:
                shutil.copytree(tmp_path, tmp_path / "killed", ignore=lambda *_: {"killed"})

        with after_each_commit(consumer, kill):
            take(consumer, last, data(2, 3.0))
    with unconnected(tmp_path / "killed") as again:
        rows = rows_of(again)
        assert whole < len(rows) < 3 * TAGS
        assert numbered(rows)
        assert balance(again).balanced
        assert again.sources[0].written_sequence == before
        take(again, last, data(2, 3.0))  # as an edge node that stores would send them again
        ids = [row.event_id for row in rows_of(again)]
        present = {row.event_id for row in rows}
        assert len(set(ids)) < len(ids)
        assert present <= set(ids)
        assert numbered(rows_of(again))
        assert balance(again).balanced


def test_pieces_that_find_no_room_are_dropped_and_those_before_them_stay(tmp_path):
    with unconnected(tmp_path) as consumer:
        take(consumer, birth())
        whole = len(rows_of(consumer))
        append, count = consumer.spool.commit, 0

        def failing(*args, **options):
            nonlocal count
            count += 1
            if count == 3:
                raise SpoolFull("no room")
            return append(*args, **options)

        consumer.spool.commit = failing
        take(consumer, data(1, 2.0))
        consumer.spool.commit = append
        assert consumer.overflow.active
        landed = len(rows_of(consumer)) - whole
        assert 0 < landed < TAGS
        found = balance(consumer)
        assert found.balanced
        assert found.rows[MAIN].dropped == {"spool_full": TAGS - landed}
        assert found.rows[MAIN].produced == whole + TAGS


def test_what_cannot_be_encoded_behind_some_pieces_is_lost_and_booked(consumer, monkeypatch):
    take(consumer, birth())
    whole = len(rows_of(consumer))
    piece, count = TagEvents._piece, 0

    def failing(self, *args):
        nonlocal count
        count += 1
        if count == 12:
            raise MemoryError
        return piece(self, *args)

    monkeypatch.setattr("consumer.rows.tag_events.TagEvents._piece", failing)
    consumer.decoding._take_whatever_it_is(InboxBatch({0: MessageBatch([data(1, 2.0)])}))
    monkeypatch.undo()
    landed = len(rows_of(consumer)) - whole
    assert 0 < landed < TAGS
    take(consumer, birth(sent=SENT + 1))
    found = balance(consumer)
    assert found.balanced
    assert found.rows[MAIN].dropped == {"decoding_failed": TAGS - landed}


def test_births_that_a_server_keeps_are_read_in_portions_and_before_all_else(consumer):
    swarm = message("NBIRTH").payload + b"\x12\x00" * 100_000
    births = [
        Message(f"$sparkplug/certificates/spBv1.0/Plant/NBIRTH/N{number}", swarm, 0, retained=True)
        for number in range(4)
    ]
    batch = InboxBatch({0: MessageBatch([data(1, 2.0)])}, {0: births}, {0: 7})
    found = list(consumer.decoding._portions.divided(batch))
    assert [len(part.certificates.get(0, [])) for part in found] == [1, 1, 1, 1, 0, 0]
    assert [len(part.by_server.get(0, [])) for part in found] == [0, 0, 0, 0, 1, 0]
    assert [part.lost for part in found] == [{}, {}, {}, {}, {}, {0: 7}]
    assert list(consumer.decoding._portions.divided(InboxBatch(lost={0: 7}))) == [
        InboxBatch(lost={0: 7})
    ]
