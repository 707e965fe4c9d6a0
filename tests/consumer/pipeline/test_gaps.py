"""Gaps and counts on their way to the spool's file, and the report that is made of them."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import message, metric, tag
from support.fleets import fleet_with
from support.listener import TIMEOUT, birth, data, death
from support.read_spool import read_from

from consumer.errors import SpoolError, SpoolFull
from consumer.pipeline import gaps as gap_records
from consumer.pipeline.gaps import MOST_LISTED, GapRecords, GapTotals
from consumer.spool import Spool
from consumer.spool import gaps as gap_store
from consumer.spool.gap_report import GapsOf, read_gap_report
from consumer.spool.gaps import HOUR_US, GapStore, HourlySums, LastHeard
from sparkplug.gaps import Gap, GapReason
from sparkplug.memory import BirthMemory, RememberedBirth

GIB = 1 << 30
HOUR = ARRIVED // HOUR_US
NOW = (HOUR + 1) * HOUR_US - 1


class Kept:
    """A fleet whose accounts are kept in a spool, run after run."""

    def __init__(self, path, server="plant-a", spool_bytes=GIB, **options):
        self.path = path
        self.server = server
        self.spool_bytes = spool_bytes
        self.options = {"reorder_timeout": TIMEOUT, **options}
        self.now = 0.0
        self.births = []
        self.sequence = b""
        self.start()

    def start(self):
        self.spool = Spool.open(self.path, reserve_bytes=0)
        self.fleet = fleet_with(**self.options)
        self.totals = GapTotals()
        self.records = GapRecords(
            self.server,
            self.fleet,
            self.totals,
            lambda: self.now,
            lambda: ARRIVED,
            spool_bytes=self.spool_bytes,
        )
        self.fleet.memory.restore(self.births, self.sequence)
        self.records.restore(self.spool)

    def feed(self, *messages, after=0.0, commit=True):
        """Take a batch in, so many seconds after the last one."""
        self.now += after
        self._take(self.fleet.feed(messages, self.now), commit=commit)

    def tick(self, after, *, commit=True):
        self.now += after
        self._take(self.fleet.tick(self.now), commit=commit)

    def _take(self, decoded, *, commit):
        self.births += [
            RememberedBirth(each, alive=True, stale=False)
            for each in decoded.memories
            if isinstance(each, BirthMemory)
        ]
        self.records.record(decoded.gaps)
        self.records.collect()
        if commit:
            self.commit()

    def commit(self):
        self.spool.write(self.records.write)
        self.records.committed()
        self.sequence = self.fleet.memory.sequence_state()

    def stop(self):
        self.records.collect(leaving=True)
        self.commit()
        self.spool.close()

    def kill(self):
        """What was not committed is forgotten."""
        self.spool.close()

    def report(self, node=None, **period):
        since, until = period.get("since", NOW - HOUR_US + 1), period.get("until", NOW)
        of = GapsOf() if node is None else GapsOf("", *node)
        return read_gap_report(self.path, since, until, of)

    def account(self, node="Edge"):
        return self.report().nodes[self.server, "Plant", node]


@pytest.fixture
def kept(tmp_path):
    kept = Kept(tmp_path / "spool.db")
    yield kept
    kept.spool.close()


def fed_with_gap(kept):
    kept.feed(birth(), data(1), data(4))
    kept.tick(TIMEOUT)


def history(seq, milliseconds):
    at_ms = SENT_MS + milliseconds
    value = metric(None, alias=0, timestamp=at_ms, double_value=1.0, is_historical=True)
    return message("NDATA", value, seq=seq)


def later(seq, milliseconds=0, **fields):
    return data(seq, timestamp=SENT_MS + milliseconds, **fields)


def test_received_and_missing_make_up_what_was_sent(kept):
    fed_with_gap(kept)
    account = kept.account()
    assert (account.sums.received, account.missing, account.expected) == (3, 2, 5)
    assert account.percent == 60
    assert (account.sums.gaps, account.open, account.sums.longest) == (1, 1, 2)
    [gap] = kept.report().listed
    assert (gap.reason, gap.first_seq, gap.missing, gap.healing) == ("sequence_gap", 2, 2, "open")
    assert (gap.found_us, gap.healed_us) == (ARRIVED, None)


def test_messages_that_come_late_are_not_missing(kept):
    fed_with_gap(kept)
    kept.feed(data(3))
    assert kept.account().missing == 1
    assert kept.report().listed[0].late == 1
    kept.feed(data(2), after=1.0)
    account = kept.account()
    assert (account.sums.received, account.missing, account.percent) == (5, 0, 100)
    assert (account.open, account.sums.late_arrival) == (0, 1)
    assert kept.report().listed[0].healing == "late_arrival"


def test_a_birth_and_then_history_are_one_healing_in_the_report(kept):
    kept.feed(birth(), later(1, 10), later(4, 40))
    kept.tick(TIMEOUT)
    kept.feed(birth(timestamp=SENT_MS + 99), after=1.0)
    sums = kept.account().sums
    assert (sums.rebirth_snapshot, sums.history_flush, sums.flushed) == (1, 0, 0)
    kept.feed(history(1, 20), history(2, 30), after=1.0)
    account = kept.account()
    sums = account.sums
    assert (sums.rebirth_snapshot, sums.history_flush, sums.flushed) == (0, 1, 2)
    assert (sums.history_rows, account.missing) == (2, 2)
    assert kept.totals.healed == {"rebirth_snapshot": 1, "history_flush": 1}


def test_several_changes_of_a_gap_in_one_batch_are_each_counted_once(tmp_path):
    kept = Kept(tmp_path / "spool.db", reorder_timeout=0.0)
    kept.feed(birth(), later(3, 30), later(1, 10), later(2, 20), history(4, 25), birth())
    account = kept.account()
    assert (account.sums.gaps, account.sums.missing, account.sums.late) == (1, 2, 2)
    assert (account.sums.late_arrival, account.open) == (1, 0)
    assert (account.sums.rebirth_snapshot, account.sums.history_flush) == (0, 0)
    assert kept.totals.open["sequence_gap"] == 0
    kept.spool.close()


def sizes(kept):
    """Missing, gaps of unknown size, sessions missed and the longest gap of the account."""
    account = kept.account()
    return account.missing, account.sums.unknown, account.sums.sessions_missed, account.sums.longest


@pytest.mark.parametrize(
    ("session", "how", "account"),
    [
        (1, "one batch", (37, 0, 0, 37)),
        (1, "two batches", (37, 0, 0, 37)),
        (1, "after a restart", (37, 1, 0, 37)),  # which is another absence
        (4, "one batch", (0, 1, 2, 0)),
        (4, "two batches", (0, 1, 2, 0)),
        (4, "after a restart", (0, 1, 2, 0)),
    ],
)
def test_a_number_that_the_next_birth_takes_back_is_in_no_sum(kept, session, how, account):
    kept.feed(birth(), data(1), data(2))
    kept.fleet.connection_lost(0.0)
    if how == "one batch":
        kept.feed(data(40), birth(bd=session))
    else:
        kept.feed(data(40))
        assert sizes(kept) == (37, 0, 0, 0)
        assert kept.totals.missing == 0  # a counter never goes back
        if how == "after a restart":
            kept.stop()
            kept.start()
        kept.feed(birth(bd=session))
    assert sizes(kept) == account
    assert (kept.totals.missing, kept.totals.sessions_missed) == (account[0], account[2])
    gap = kept.report().listed[-1]
    assert (gap.missing, gap.sessions_missed) == (account[0] or None, account[2])
    assert (gap.first_seq, gap.healing) == (3, "rebirth_snapshot")


def test_what_was_received_is_written_about_once_a_second(kept):
    kept.feed(birth())
    kept.feed(data(1))
    assert kept.account().sums.received == 1
    kept.tick(1.0)
    assert kept.account().sums.received == 2
    assert not kept.records.pending


def test_gaps_do_not_wait_for_that(kept):
    kept.feed(birth())
    kept.feed(data(1), death())
    assert [row.reason for row in kept.report().listed] == ["session_end"]


def test_an_orderly_stop_writes_all(kept):
    kept.feed(birth())
    kept.feed(data(1))
    kept.stop()
    assert kept.account().sums.received == 2


def test_an_orderly_stop_forgets_nothing_of_a_node_without_birth(kept):
    kept.feed(data(5), data(6), after=5.0)
    assert kept.report().nodes == {}
    kept.stop()
    assert kept.account().sums.received == 2
    kept.start()
    kept.feed(data(7), birth(), after=5.0)
    assert kept.account().sums.received == 4


def test_a_restart_continues_the_account_and_heals_what_was_open(kept):
    fed_with_gap(kept)
    kept.stop()
    kept.start()
    assert kept.totals.open["sequence_gap"] == 1
    kept.feed(data(5), data(3))
    kept.stop()
    kept.start()
    kept.feed(data(6), data(2), after=1.0)
    account = kept.account()
    assert (account.sums.received, account.missing) == (7, 0)
    assert (account.sums.late_arrival, account.open) == (1, 0)
    assert len(kept.report().listed) == 1
    assert kept.totals.open["sequence_gap"] == 0


def test_a_birth_after_a_restart_heals_what_was_open_even_if_its_node_is_not_known(kept):
    fed_with_gap(kept)
    kept.stop()
    kept.births = []
    kept.start()
    kept.feed(birth())
    assert [(row.missing, row.healing) for row in kept.report().listed] == [(2, "rebirth_snapshot")]


def test_history_after_a_restart_heals_what_a_birth_had_healed_before(kept):
    kept.feed(birth(), later(1, 10), later(4, 40))
    kept.tick(TIMEOUT)
    kept.feed(birth())
    kept.stop()
    kept.start()
    kept.feed(later(1, 95), history(2, 20))
    assert [(row.healing, row.history_rows) for row in kept.report().listed] == [
        ("history_flush", 1)
    ]


def test_a_kill_forgets_no_committed_gap_and_finds_again_what_was_not_committed(kept):
    fed_with_gap(kept)
    kept.feed(data(5), data(9), commit=False)
    kept.tick(TIMEOUT, commit=False)
    kept.kill()
    kept.start()
    # The last committed batch ended with seq 4: 5 was received, but nobody knows any more.
    kept.feed(data(10))
    rows = {row.reason: (row.first_seq, row.missing) for row in kept.report().listed}
    assert rows == {"sequence_gap": (2, 2), "away": (5, 5)}


def test_what_could_not_be_committed_is_written_with_the_next_commit(kept):
    kept.feed(birth(), data(1), data(4), commit=False)
    kept.tick(TIMEOUT, commit=False)
    kept.feed(data(2), after=1.0, commit=False)
    kept.commit()
    account = kept.account()
    assert (account.sums.received, account.missing, account.sums.gaps) == (4, 1, 1)
    assert [(row.missing, row.late) for row in kept.report().listed] == [(2, 1)]


def test_a_transaction_that_fails_leaves_all_to_be_written_again(kept):
    def refuse(db):
        kept.records.write(db)
        raise SpoolFull

    kept.feed(birth(), data(1), commit=False)
    with pytest.raises(SpoolFull):
        kept.spool.write(refuse)
    kept.commit()
    assert kept.account().sums.received == 2


def test_a_node_with_a_gap_in_every_message_gets_some_records_and_exact_sums(tmp_path):
    kept = Kept(tmp_path / "spool.db", reorder_timeout=0.0)
    many = 3 * MOST_LISTED
    kept.feed(birth(), *(data(2 * n) for n in range(1, many + 1)))
    kept.feed(message("NBIRTH", tag("Ramp", 0), node="Other"), data(3, node="Other"), after=1.0)
    sums = kept.account().sums
    assert (sums.gaps, sums.missing, sums.unlisted) == (many, many, many - MOST_LISTED)
    assert sums.not_at_all == many - 16
    report = kept.report()
    assert report.records == MOST_LISTED + 1
    assert report.listed[0].edge_node_id in ("Edge", "Other")
    assert kept.totals.unlisted == many - MOST_LISTED
    assert kept.account("Other").sums.unlisted == 0
    kept.spool.close()


def test_records_do_not_outgrow_their_bound_and_the_newest_stay(kept, monkeypatch):
    monkeypatch.setattr(gap_store, "MOST_GAPS", 10)
    for number in range(1, 26):
        gap = Gap("Plant", "Edge", GapReason.AWAY, number, number=number)
        kept.spool.write(
            lambda db, gap=gap: GapStore("plant-a", GIB).write_gaps(db, [gap], gap.number)
        )
    [numbers] = read_from(
        kept.spool,
        lambda db: db.execute("SELECT min(number), max(number), count(*) FROM gaps").fetchall(),
    )
    assert numbers == (16, 25, 10)


def taken(kept):
    """Bytes of the pages that the file has in use."""
    query = (
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    return read_from(kept.spool, lambda db: db.execute(query).fetchone())[0]


def test_many_nodes_with_long_names_take_their_part_of_a_small_spool_and_no_more(tmp_path):
    kept = Kept(tmp_path / "spool.db", reorder_timeout=0.0, spool_bytes=16 << 20)
    store = kept.records._store
    for start in range(0, 10_000, 500):
        names = [("Plant" * 100, f"{number:05}" * 100) for number in range(start, start + 500)]
        hour = {(name, HOUR): HourlySums(received=1) for name in names}
        gaps = [
            Gap(*name, GapReason.AWAY, ARRIVED + start, number=start + number + 1)
            for number, name in enumerate(names)
        ]

        def write(db, hour=hour, gaps=gaps, names=names, start=start):
            store.write_sums(db, hour, {})
            store.write_heard(db, dict.fromkeys(names, LastHeard(ARRIVED + start, 0)))
            store.write_gaps(db, gaps, start + 500)
            if store.has_grown:
                store.trim(db, HOUR)

        kept.spool.write(write)
        assert taken(kept) < 3 << 20
    newest = "SELECT max(number), (SELECT max(last_us) FROM edge_nodes) FROM gaps"
    assert read_from(kept.spool, lambda db: db.execute(newest).fetchone()) == (
        10_000,
        ARRIVED + 9_500,
    )
    kept.spool.close()


def sums_at(kept, *hours, node="Edge"):
    sums = {(("Plant", node), hour): HourlySums(received=1) for hour in hours}
    return kept.spool.write(lambda db: GapStore("plant-a", GIB).write_sums(db, sums, {}))


def hours(kept):
    query = "SELECT DISTINCT hour FROM completeness ORDER BY hour"
    return [hour for (hour,) in read_from(kept.spool, lambda db: db.execute(query).fetchall())]


def test_accounts_are_kept_for_31_days(kept):
    sums_at(kept, HOUR, HOUR - 744, HOUR - 745)
    kept.spool.write(lambda db: GapStore("plant-a", GIB).trim(db, HOUR))
    assert hours(kept) == [HOUR - 744, HOUR]


def test_accounts_of_too_many_nodes_are_kept_for_fewer_hours(kept, monkeypatch):
    monkeypatch.setattr(gap_store, "MOST_HOURLY_ROWS", 5)
    for node in ("A", "B"):
        sums_at(kept, *range(HOUR - 5, HOUR + 1), node=node)
    kept.spool.write(lambda db: GapStore("plant-a", GIB).trim(db, HOUR))
    assert hours(kept) == [HOUR - 1, HOUR]


def test_nodes_that_are_long_gone_are_forgotten_with_their_accounts(kept, monkeypatch):
    kept.feed(birth())
    kept.spool.write(lambda db: GapStore("plant-a", GIB).trim(db, HOUR + 745))
    count = "SELECT count(*) FROM edge_nodes"
    assert read_from(kept.spool, lambda db: db.execute(count).fetchone()) == (0,)
    monkeypatch.setattr(gap_store, "MOST_NODES", 1)
    kept.records._trim_due = 0.0
    kept.feed(*(message("NBIRTH", tag("Ramp", 0), node=name) for name in "ABC"), after=1.0)
    assert read_from(kept.spool, lambda db: db.execute(count).fetchone()) == (1,)


def test_a_node_whose_id_was_forgotten_gets_another(kept):
    kept.feed(birth())
    kept.records._ids.clear()
    kept.spool.write(lambda db: db.execute("DELETE FROM edge_nodes"))
    kept.feed(data(1), after=1.0)
    assert kept.account().sums.received == 1


def test_what_one_server_forgets_costs_the_nodes_of_another_no_later_account(kept, monkeypatch):
    other = fleet_with(reorder_timeout=TIMEOUT)
    records = GapRecords(
        "plant-b", other, kept.totals, lambda: kept.now, lambda: ARRIVED, spool_bytes=GIB
    )
    records.restore(kept.spool)

    def feed(received):
        records.record(other.feed([received], kept.now).gaps)
        records.collect()
        kept.spool.write(records.write)
        records.committed()

    for seq in range(2):  # its id is known from the second commit on
        verb = "NDATA" if seq else "NBIRTH"
        feed(message(verb, tag("Ramp", 0), seq=seq, received_us=ARRIVED - 60_000_000))
        kept.now += 2.0
    monkeypatch.setattr(gap_store, "MOST_NODES", 2)
    kept.records._trim_due = 0.0
    invented = (message("NBIRTH", tag("Ramp", 0), node=name) for name in "ABC")
    kept.feed(*invented, after=1.0)
    feed(data(2))
    query = (
        "SELECT coalesce(sum(received), 0) FROM completeness JOIN edge_nodes USING (node_id) "
        "WHERE server = 'plant-b'"
    )
    assert read_from(kept.spool, lambda db: db.execute(query).fetchone()) == (1,)


def test_counts_of_very_many_nodes_are_written_less_often(kept, monkeypatch):
    monkeypatch.setattr(gap_records, "_NODES_PER_SECOND", 2)
    nodes = [f"Edge {number}" for number in range(10)]
    kept.feed(*(message("NBIRTH", tag("Ramp", 0), node=node) for node in nodes))
    kept.feed(*(data(1, node=node) for node in nodes), after=4.0)
    assert kept.report().total.sums.received == 10
    kept.tick(1.0)
    assert kept.report().total.sums.received == 20


def test_the_report_of_one_node_and_of_another_time(kept):
    fed_with_gap(kept)
    kept.feed(message("NBIRTH", tag("Ramp", 0), node="Other"), after=1.0)
    assert list(kept.report(("Plant", "Other")).nodes) == [("plant-a", "Plant", "Other")]
    assert kept.report(("Plant", "Other")).listed == []
    before = kept.report(since=NOW - 3 * HOUR_US, until=NOW - 2 * HOUR_US)
    assert (before.nodes, before.listed, before.kept_from_us) == ({}, [], HOUR * HOUR_US)
    total = kept.report().total
    assert (total.sums.received, total.missing, total.sums.longest) == (4, 2, 2)


def test_the_report_is_json(kept):
    fed_with_gap(kept)
    found = kept.report().as_dictionary()
    assert found["since"] == "2023-11-14T22:00:00.000Z"
    assert found["nodes"][0]["percent"] == 60
    assert found["total"]["gaps"]["open"] == 1
    assert found["total"]["nodes"] == 1
    assert found["gaps"][0]["found"] == "2023-11-14T22:15:00.000Z"
    assert found["gaps"][0]["missing_is_modulo_256"] is True
    assert found["gaps_left_out"] == 0


def test_a_file_that_is_no_spool_of_this_release_is_refused_with_one_line(tmp_path):
    with pytest.raises(SpoolError, match=r"is spool\.path right"):
        read_gap_report(tmp_path / "nothing.db", 0, NOW)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    with pytest.raises(SpoolError, match="not a spool"):
        read_gap_report(other, 0, NOW)
    other.write_bytes(b"no database at all, by no means" * 100)
    with pytest.raises(SpoolError, match="not an SQLite file"):
        read_gap_report(other, 0, NOW)


def test_many_new_nodes_with_long_names_in_one_commit_stay_within_their_part(tmp_path):
    small = 16 << 20
    with contextlib.closing(Spool.open(tmp_path / "spool.db", max_bytes=small)) as spool:
        store = GapStore("plant-a", small)
        honest = ("Plant", "Honest")
        spool.write(lambda db: store.write_sums(db, {(honest, HOUR): HourlySums(1)}, {}))
        invented = [("Plant", f"{'€' * 1_900}{number}") for number in range(1_000)]
        sums = {(key, HOUR): HourlySums(1) for key in [*invented, honest]}
        gaps = [
            Gap(*key, GapReason.AWAY, ARRIVED, number=number)
            for number, key in enumerate(invented, start=1)
        ]

        def write(db):
            ids.update(store.write_sums(db, sums, {}))
            store.write_gaps(db, gaps, len(gaps))

        ids = {}
        spool.write(write)
        assert spool.stats().used_bytes < small / 3  # with the log
        assert honest in ids
        [(received,)] = read_from(
            spool,
            lambda db: db.execute(
                "SELECT sum(received) FROM completeness WHERE node_id = ?", (ids[honest],)
            ).fetchall(),
        )
        assert received == 2
        [(newest,)] = read_from(
            spool, lambda db: db.execute("SELECT max(number) FROM gaps").fetchall()
        )
        assert newest == len(gaps)
