"""One message that gives very many rows is committed in pieces, and others do not wait for it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.columnar import change, message, tag
from support.spooled_by import MAIN, after_each_commit, balance, numbered, rows_of
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.errors import SpoolFull
from consumer.pipeline import Outcome, Post, commits
from consumer.pipeline.arrival_numbers import ARRIVAL_KEY
from consumer.rows import read_body
from sparkplug.messages import Message, MessageBatch

TAGS = 60
NAMES = [f"{number:04}{'x' * 1000}" for number in range(TAGS)]
SENT = 1_795_443_214_000
TWO_SERVERS = {
    "servers": [
        {"name": "plant", "url": "mqtt://127.0.0.1:9"},
        {"name": "other", "url": "mqtt://127.0.0.1:11"},
    ]
}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """Some ten rows; a giant has several of them."""
    monkeypatch.setattr(commits, "_PIECE_BYTES", 20_000)
    monkeypatch.setattr("consumer.rows.tag_events._PIECE_BYTES", 10_000)


@contextlib.contextmanager
def consuming(directory, most_memory=60_000, **sections):
    """A consumer for which few rows are many: a giant is what takes more than `most_memory`."""
    with unconnected(directory, batch={"max_delay": "1ms"}, **sections) as consumer:
        for source in consumer.sources:
            state = source.fleet._state
            state.limits = dataclasses.replace(state.limits, max_portion_memory=most_memory)
        yield consumer


@pytest.fixture
def consumer(tmp_path):
    with consuming(tmp_path) as made:
        yield made


def birth(node="Giant", seq=0, names=NAMES, sent=SENT, value=1.0):
    metrics = [tag(name, alias, value) for alias, name in enumerate(names)]
    return message("NBIRTH", *metrics, node=node, seq=seq, timestamp=sent)


def giant(seq, value=2.0, node="Giant"):
    metrics = [change(alias, value) for alias in range(TAGS)]
    return message("NDATA", *metrics, node=node, seq=seq, timestamp=SENT)


def small(seq, value=2.0, node="Small"):
    return message("NDATA", change(0, value), node=node, seq=seq, timestamp=SENT)


def put(consumer, *messages, server=0):
    for each in messages:
        assert consumer.intake.put(server, each)


def work(consumer):
    """Take all that waits."""
    while consumer.intake.queued_bytes or consumer.intake._full:
        consumer.decoding._portions.take(0.0)
        for portion in consumer.decoding._portions:
            consumer.decoding._take_whatever_it_is(portion)


def hear(consumer, *messages, server=0):
    put(consumer, *messages, server=server)
    work(consumer)


def of_node(rows, node):
    return [row for row in rows if row.edge_node_id == node]


def born(consumer):
    """Giant and Small are; returns how many rows that gave."""
    hear(consumer, birth(), birth("Small", names=["Ramp"]))
    return len(rows_of(consumer))


def test_between_the_pieces_of_a_giant_the_data_of_others_goes_on(consumer):
    before = born(consumer)

    def talk(number):
        if number in (2, 4):
            put(consumer, small(number // 2, float(number)))

    with after_each_commit(consumer, talk):
        hear(consumer, giant(1))
    rows = rows_of(consumer)
    assert numbered(rows)
    nodes = [row.edge_node_id for row in rows[before:]]
    assert nodes.count("Giant") == TAGS
    assert nodes.count("Small") == 2
    assert nodes[-1] == "Giant"
    assert nodes[0] == "Giant"
    assert nodes.index("Small") < TAGS // 2
    assert [row.metric_name for row in of_node(rows[before:], "Giant")] == NAMES
    assert consumer.balance().balanced
    assert consumer.balance().messages["plant"].decoded == 5


def test_between_the_pieces_of_a_giant_posts_are_committed(consumer):
    before = born(consumer)
    answers = []

    def post(number):
        if number == 1:
            body = read_body(b'[{"tagPath": "Posted", "value": 1}]', SENT * 1000)
            consumer.posts.offer(Post("http", body, 100, answers.append))

    with after_each_commit(consumer, post):
        hear(consumer, giant(1))
    rows = rows_of(consumer)
    assert answers == [Outcome.COMMITTED]
    assert numbered(rows)
    names = [row.metric_name for row in rows[before:]]
    assert 0 < names.index("Posted") < TAGS // 2
    assert consumer.balance().balanced


def test_others_of_the_same_batch_do_not_wait_for_a_giant_either(consumer):
    before = born(consumer)
    hear(consumer, giant(1), small(1))
    nodes = [row.edge_node_id for row in rows_of(consumer)[before:]]
    assert 0 < nodes.index("Small") < TAGS // 2


def test_what_the_same_node_says_meanwhile_comes_behind_its_giant(consumer):
    before = born(consumer)

    def talk(number):
        if number == 1:
            put(consumer, small(2, 5.0, "Giant"), small(1))
        if number == 2:
            put(consumer, small(3, 6.0, "Giant"), message("NDEATH", node="Giant", seq=None))

    with after_each_commit(consumer, talk):
        hear(consumer, giant(1))
    rows = of_node(rows_of(consumer)[before:], "Giant")
    assert [row.numeric_value for row in rows[:TAGS]] == [2.0] * TAGS
    assert [row.numeric_value for row in rows[TAGS : TAGS + 2]] == [5.0, 6.0]
    assert [row.quality for row in rows[TAGS + 2 :]] == ["STALE"] * TAGS
    assert consumer.gaps.found == {"session_end": 1}


def test_a_second_giant_waits_for_the_first_and_its_node_with_it(consumer):
    hear(consumer, birth(), birth("Other"), birth("Small", names=["Ramp"]))
    before = len(rows_of(consumer))
    hear(consumer, giant(1), giant(1, 3.0, "Other"), small(2, 4.0, "Other"), small(1))
    rows = rows_of(consumer)[before:]
    assert [row.numeric_value for row in of_node(rows, "Other")] == [3.0] * TAGS + [4.0]
    assert len(of_node(rows, "Giant")) == TAGS
    whole = [row.edge_node_id for row in rows if row.edge_node_id != "Small"]
    assert whole == ["Giant"] * TAGS + ["Other"] * (TAGS + 1)
    assert not consumer.gaps.found


def test_the_same_node_behind_another_server_waits_too(tmp_path):
    with consuming(tmp_path, **TWO_SERVERS) as consumer:
        born(consumer)
        hear(consumer, birth(sent=SENT + 1), birth("Small", names=["Ramp"]), server=1)
        before = len(rows_of(consumer))

        def talk(number):
            if number == 1:
                put(consumer, small(1, 7.0, "Giant"), small(1), server=1)

        with after_each_commit(consumer, talk):
            hear(consumer, giant(1))
        rows = rows_of(consumer)[before:]
        assert [row.numeric_value for row in of_node(rows, "Giant")] == [2.0] * TAGS + [7.0]
        nodes = [row.edge_node_id for row in rows]
        assert 0 < nodes.index("Small") < TAGS // 2


def test_the_end_of_a_connection_waits_for_the_giant_that_came_before_it(consumer):
    before = born(consumer)

    def lose(number):
        if number == 1:
            consumer.intake.put_lost(0, SENT * 1000)
            put(consumer, small(1, 3.0))

    with after_each_commit(consumer, lose):
        hear(consumer, giant(1))
    rows = rows_of(consumer)[before:]
    assert [row.edge_node_id for row in rows] == ["Giant"] * TAGS + ["Small"]
    assert not consumer.sources[0].fleet._state.nodes.confirmed[0]


@pytest.mark.parametrize("killed_after", range(1, 4))
def test_who_is_killed_within_a_giant_knows_what_came_of_others_and_nothing_of_it(
    tmp_path, killed_after
):
    with consuming(tmp_path) as consumer:
        before = born(consumer)
        sequence = consumer.sources[0].written_sequence

        def talk(number):
            if number == 1:
                put(consumer, small(1))
            if number == 1 + killed_after:
                shutil.copytree(tmp_path, tmp_path / "killed", ignore=lambda *_: {"killed"})

        with after_each_commit(consumer, talk):
            hear(consumer, giant(1))
        assert consumer.sources[0].written_sequence != sequence
    with consuming(tmp_path / "killed") as again:
        rows = rows_of(again)[before:]
        assert len(of_node(rows, "Small")) == 1
        assert 0 < len(of_node(rows, "Giant")) < TAGS
        assert numbered(rows)
        found = balance(again)
        assert found.balanced
        assert found.messages["plant"].decoded == 3
        kept = again.sources[0].written_sequence
        assert kept[:2] == sequence[:2]  # of the giant's node
        assert kept[2:] != sequence[2:]
        hear(again, small(2), giant(2))
        assert again.gaps.found == {"away": 1}
        hear(again, birth(sent=SENT + 1))
        assert again.gaps.missing == 1


def test_births_of_others_do_not_rename_the_tags_of_a_giant_on_its_way(consumer, monkeypatch):
    for slack in ("_SLACK", "_SLACK_CHARACTERS"):
        monkeypatch.setattr(f"sparkplug.host.declared_tags.{slack}", 0)
    hear(consumer, birth("Small", names=["Ramp"] + [f"Old {n}" for n in range(20)]), birth())
    before = len(rows_of(consumer))

    def talk(number):
        names = [f"New {number} {n}" for n in range(TAGS)]
        put(consumer, birth("Small", names=names, sent=SENT + number))

    with after_each_commit(consumer, talk):
        put(consumer, giant(1))
        consumer.decoding._portions.take(0.0)
        for portion in consumer.decoding._portions:
            consumer.decoding._take_whatever_it_is(portion)
            if not of_node(rows_of(consumer)[before:], "Giant"):
                break
    rows = of_node(rows_of(consumer)[before:], "Giant")
    assert [row.metric_name for row in rows] == NAMES


def test_who_cannot_be_read_between_two_pieces_costs_no_more_than_itself(consumer, monkeypatch):
    before = born(consumer)
    fleet = consumer.sources[0].fleet
    feed = fleet.feed

    def feeding(messages, now):
        if any("Small" in topic for topic in messages.topics):
            raise MemoryError
        return feed(messages, now)

    monkeypatch.setattr(fleet, "feed", feeding)
    with after_each_commit(consumer, lambda n: n == 1 and put(consumer, small(1))):
        hear(consumer, giant(1))
    rows = rows_of(consumer)[before:]
    assert [row.edge_node_id for row in rows] == ["Giant"] * TAGS
    found = balance(consumer)
    assert found.balanced
    assert found.messages["plant"].discarded == {"decoding_failed": 1}


@pytest.mark.parametrize("failing_at", [2, 3])
def test_a_giant_that_finds_no_room_is_dropped_from_there_on(tmp_path, failing_at):
    with consuming(tmp_path) as consumer:
        before = born(consumer)
        append, count = consumer.spool.commit, 0

        def failing(*args, **options):
            nonlocal count
            count += 1
            if count >= failing_at and not options["spare"]:
                raise SpoolFull("no room")
            return append(*args, **options)

        consumer.spool.commit = failing
        put(consumer, giant(1), small(1))
        work(consumer)
        consumer.spool.commit = append
        assert consumer.overflow.active
        landed = len(rows_of(consumer)) - before
        assert 0 < landed < TAGS
        found = balance(consumer)
        assert found.balanced
        assert found.rows[MAIN].dropped == {"spool_full": TAGS + 1 - landed}
        assert consumer.spool.state.get(ARRIVAL_KEY) == consumer.commits.next_arrival


def streams():
    """What three nodes say: births, data and deaths, small and large."""
    small_or_giant = st.sampled_from(["small", "giant", "birth", "death", "hole"])
    return st.lists(st.tuples(st.sampled_from("ABC"), small_or_giant), max_size=25)


def messages_of(stream):
    seqs = dict.fromkeys("ABC", 0)
    for number, (node, kind) in enumerate(stream):
        if kind == "death":
            yield message("NDEATH", node=node, seq=None, timestamp=SENT + number)
        elif kind == "birth":
            seqs[node] = 0
            yield birth(node, sent=SENT + number)
        elif kind == "hole":
            seqs[node] += 1
        else:
            seqs[node] += 1
            make = giant if kind == "giant" else small
            yield make(seqs[node] % 256, float(number), node)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(streams(), st.lists(st.integers(1, 4), min_size=1, max_size=10))
def test_what_is_divided_gives_each_node_what_it_would_have_as_a_whole(stream, bursts):
    heard = list(messages_of([(node, "birth") for node in "ABC"] + stream))
    found = []
    for most_memory in (60_000, 1 << 40):
        with (
            tempfile.TemporaryDirectory() as directory,
            consuming(Path(directory), most_memory, host={"reorder_timeout": "0s"}) as consumer,
        ):
            left = heard.copy()

            def arrive(number, left=left, consumer=consumer):
                for _ in range(bursts[number % len(bursts)]):
                    if left:
                        put(consumer, left.pop(0))

            with after_each_commit(consumer, arrive):
                while left:
                    arrive(0)
                    work(consumer)
            rows = rows_of(consumer)
            assert numbered(rows)
            assert balance(consumer).balanced
            for row in rows:
                row.ClearField("arrival_number")
            found.append(
                (
                    {node: of_node(rows, node) for node in "ABC"},
                    consumer.sources[0].written_sequence,
                    balance(consumer).to_dict(),
                    consumer.gaps.found,
                )
            )
    assert found[0] == found[1]


def test_a_certificate_waits_for_the_giant_that_came_before_it(consumer):
    before = born(consumer)
    certificate = Message(
        "$sparkplug/certificates/spBv1.0/Plant/NBIRTH/Late", birth().payload, 0, retained=True
    )

    def talk(number):
        if number == 1:
            consumer.intake.put(0, certificate, certificate=True)
            put(consumer, small(1))

    with after_each_commit(consumer, talk):
        hear(consumer, giant(1))
    rows = rows_of(consumer)[before:]
    assert [row.edge_node_id for row in rows] == ["Giant"] * TAGS + ["Small"]
    assert consumer.balance().messages["plant"].discarded == {"certificate": 1}


def test_a_giant_by_itself_is_one_portion_and_says_whose_it_is(consumer):
    born(consumer)
    batch = InboxBatch({0: MessageBatch([giant(1)])})
    (portion,) = consumer.decoding._portions.divided(batch)
    assert portion.node == ("Plant", "Giant")
    assert portion.server == 0


def test_what_waited_for_a_giant_birth_waits_again_if_it_is_killed_within_it(tmp_path):
    with consuming(tmp_path) as consumer:
        born(consumer)
        hear(consumer, small(1, node="Late"), small(2, node="Late"))
        consumer.decoding._take_leave()

    def talk(number):
        if number == 1:
            put(again, small(1))
        if number == 2:
            shutil.copytree(tmp_path, tmp_path / "killed", ignore=lambda *_: {"killed"})

    with consuming(tmp_path) as again:
        assert again.sources[0].fleet.gauges.held_messages == 2
        with after_each_commit(again, talk):
            hear(again, birth("Late"))
        assert again.sources[0].fleet.gauges.held_messages == 0
        assert len(of_node(rows_of(again), "Late")) == TAGS + 2
    with consuming(tmp_path / "killed") as killed:
        assert killed.sources[0].fleet.gauges.held_messages == 2
        assert balance(killed).balanced
        hear(killed, birth("Late"))
        values = [
            row.seq for row in of_node(rows_of(killed), "Late") if row.message_type == "NDATA"
        ]
        assert values == [1, 2]


def test_what_time_alone_gives_is_not_in_the_pieces_of_a_giant(tmp_path):
    with consuming(tmp_path, host={"reorder_timeout": "50ms"}) as consumer:
        before = born(consumer)
        hear(consumer, small(2))
        assert len(rows_of(consumer)) == before
        time.sleep(0.06)
        balances = []
        with after_each_commit(consumer, lambda _: balances.append(balance(consumer))):
            hear(consumer, giant(1))
        nodes = [row.edge_node_id for row in rows_of(consumer)[before:]]
        assert nodes == ["Small"] + ["Giant"] * TAGS
        # It was decoded before anything of the giant was: with the first commit.
        assert balances[0].messages["plant"].decoded == 3


def test_what_waits_of_a_giants_node_goes_on_waiting_until_its_end(tmp_path):
    with consuming(tmp_path, host={"reorder_timeout": "300ms"}) as consumer:
        before = born(consumer)
        hear(consumer, small(3, 9.0, "Giant"))  # 2 is missing
        begun = time.monotonic()

        def talk(number):
            if number == 1:
                put(consumer, small(1))
                time.sleep(max(0.0, begun + 0.31 - time.monotonic()))

        with after_each_commit(consumer, talk):
            hear(consumer, giant(1))
            consumer.decoding._take_whatever_it_is(InboxBatch())
        rows = of_node(rows_of(consumer)[before:], "Giant")
        assert [row.numeric_value for row in rows] == [2.0] * TAGS + [9.0]
        assert consumer.gaps.found == {"sequence_gap": 1}


def test_the_same_node_behind_another_server_waits_no_less_for_what_it_misses(tmp_path):
    with consuming(tmp_path, host={"reorder_timeout": "300ms"}, **TWO_SERVERS) as consumer:
        born(consumer)
        hear(consumer, birth(sent=SENT + 1), server=1)
        before = len(rows_of(consumer))
        hear(consumer, small(3, 9.0, "Giant"), server=1)  # 1 and 2 are missing
        begun = time.monotonic()

        def talk(number):
            if number == 1:
                put(consumer, small(1))
                time.sleep(max(0.0, begun + 0.31 - time.monotonic()))

        with after_each_commit(consumer, talk):
            hear(consumer, giant(1))
            consumer.decoding._take_whatever_it_is(InboxBatch())
        rows = of_node(rows_of(consumer)[before:], "Giant")
        assert [row.numeric_value for row in rows] == [2.0] * TAGS + [9.0]


def test_giants_that_keep_coming_leave_time_for_all_else(consumer, monkeypatch):
    born(consumer)
    looks = []
    monkeypatch.setattr(consumer.watch, "look", lambda: looks.append(1))
    left = [giant(seq, float(seq)) for seq in range(2, 12)]

    def talk(_number):
        if left:
            put(consumer, left.pop(0))
        if not left:
            consumer.intake.close()

    put(consumer, giant(1))
    with after_each_commit(consumer, talk):
        consumer.decoding._decode_all()
    assert consumer.failure is None
    assert len(looks) >= 11


def test_births_that_are_giants_let_tags_be_forgotten(consumer, monkeypatch):
    for slack in ("_SLACK", "_SLACK_CHARACTERS"):
        monkeypatch.setattr(f"sparkplug.host.declared_tags.{slack}", 0)
    left = [
        birth(sent=SENT + number, names=[f"{number:02}{n:04}{'x' * 1000}" for n in range(TAGS)])
        for number in range(10)
    ]

    def talk(_number):
        if left:
            put(consumer, left.pop(0))

    with after_each_commit(consumer, talk):
        hear(consumer, birth())
    assert not left
    assert len(consumer.sources[0].fleet.catalogue) <= 4 * TAGS


def test_what_others_had_waiting_is_booked_once_if_a_giant_is_killed_behind_it(tmp_path):
    with consuming(tmp_path) as consumer:
        born(consumer)
        hear(consumer, small(1, node="Late"), small(2, node="Late"))
        consumer.decoding._take_leave()

    def talk(number):
        if number == 1:
            put(again, birth("Late", names=["Ramp"]))
        if number == 2:
            shutil.copytree(tmp_path, tmp_path / "killed", ignore=lambda *_: {"killed"})

    with consuming(tmp_path) as again, after_each_commit(again, talk):
        hear(again, giant(1))
    with consuming(tmp_path / "killed") as killed:
        assert killed.sources[0].fleet.gauges.held_messages == 0
        found = balance(killed)
        assert found.balanced
        assert found.messages["plant"].received == 5
        assert len(of_node(rows_of(killed), "Late")) == 3


def test_values_of_a_birth_that_were_lost_are_given_by_the_next_one(consumer):
    append, count = consumer.spool.commit, 0

    def failing(*args, **options):
        nonlocal count
        count += 1
        if count == 2:
            raise MemoryError
        return append(*args, **options)

    consumer.spool.commit = failing
    hear(consumer, birth())
    consumer.spool.commit = append
    landed = len(rows_of(consumer))
    assert 0 < landed < TAGS
    hear(consumer, birth(sent=SENT + 1))
    assert {row.metric_name for row in rows_of(consumer)} == set(NAMES)


def test_a_giant_is_told_of_in_the_side_tables_with_its_last_piece(tmp_path):
    tables = {"events_table": "main.ot.sparkplug_events"}
    with consuming(tmp_path, zerobus=tables) as consumer:
        born(consumer)
        seen = []

        def talk(number):
            if number == 1:
                put(consumer, small(1), birth("Other", names=["Ramp"]))
            events = consumer.spool.batches_after(0, 1 << 30, table=tables["events_table"])
            seen.append(
                sum(b"Giant" in row for e in events for row in e.rows.slice(0, len(e.rows)))
            )

        with after_each_commit(consumer, talk):
            hear(consumer, birth(sent=SENT + 1, value=2.0))
    assert len(seen) > 3
    assert seen[0] == seen[-2] < seen[-1]


def test_weighing_that_fails_leaves_the_batch_to_be_read_as_it_is(consumer, monkeypatch):
    def failing(_messages):
        raise MemoryError

    monkeypatch.setattr(consumer.sources[0].fleet, "portions", failing)
    hear(consumer, birth("Small", names=["Ramp"]))
    assert len(rows_of(consumer)) == 1


def test_a_defect_that_hits_every_giant_ends_the_decoding(consumer, monkeypatch):
    born(consumer)
    commit = consumer.commits.commit_but_last_piece
    monkeypatch.setattr(
        consumer.commits, "commit_but_last_piece", lambda taken: 1 // 0 if taken else commit(taken)
    )
    for seq in range(1, 10):
        hear(consumer, giant(seq))
    with pytest.raises(ZeroDivisionError):
        hear(consumer, giant(10))
