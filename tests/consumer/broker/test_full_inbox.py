"""A queue that is full takes what it refuses from whoever has most waiting."""

from __future__ import annotations

from collections import Counter

from support.full_inbox import OVERHEAD, Full, topic

from consumer.broker import filling, shares
from sparkplug import CERTIFICATE_PREFIX, Message


def numbers(found, node):
    return [number for whose, _, number in found if whose == node]


# ------------------------------------------------------------------ whose messages are refused


def test_quiet_nodes_lose_nothing_while_one_floods():
    full = Full(room=100 * (100 + OVERHEAD))
    for number in range(1_000):
        full.put("Loud", number)
        if number % 50 == 0:
            assert full.put(f"Quiet {number % 3}", number)
    found = full.taken()[0]
    assert set(full.refused) == {(0, "Plant/Loud")}
    quiet = [number for node, _, number in found if node != "Loud"]
    assert quiet == list(range(0, 1_000, 50))
    assert full.refused[0, "Plant/Loud"] == 1_000 - len(numbers(found, "Loud"))


def test_of_the_loudest_the_newest_go_and_the_rest_keep_their_order():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(80):
        assert full.put("Loud", number)
    assert full.put("Quiet", 0)
    assert full.refused == {(0, "Plant/Loud"): 10}
    assert numbers(full.taken()[0], "Loud") == list(range(70))


def test_what_arrives_of_the_loudest_is_refused_and_takes_nothing_from_others():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(79):
        assert full.put("Loud", number)
    assert full.put("Quiet", 0)
    for number in range(79, 200):
        assert not full.put("Loud", number)
    assert full.inbox.queued_bytes == 80 * (100 + OVERHEAD)
    assert full.refused == {(0, "Plant/Loud"): 121}


def test_births_and_deaths_of_the_loudest_go_after_its_values():
    full = Full(room=80 * (100 + OVERHEAD))
    verbs = ["NBIRTH", "DBIRTH", "NDEATH", *["NDATA"] * 77]
    for number, verb in enumerate(verbs[::-1]):
        assert full.put("Loud", number, verb=verb)
    for number in range(35):
        assert full.put("Quiet", number)
    found = full.taken()[0]
    assert [verb for node, verb, _ in found if node == "Loud"] == verbs[-37:] + verbs[2::-1]
    assert numbers(found, "Quiet") == list(range(35))


def test_births_alone_are_bounded_too_and_go_before_deaths():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(500):
        assert full.put("Loud", number, verb="NDEATH" if number == 40 else "NBIRTH")
        assert full.inbox.queued_bytes <= 80 * (100 + OVERHEAD)
    assert full.put("Quiet", 0)
    found = full.taken()[0]
    assert ("Loud", "NDEATH", 40) in found
    assert ("Quiet", "NDATA", 0) in found
    assert full.refused == {(0, "Plant/Loud"): 500 - len(numbers(found, "Loud"))}


def test_a_birth_of_the_loudest_has_room_in_the_place_of_its_values():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(80):
        full.put("Loud", number)
    assert full.put("Loud", 80, verb="NBIRTH")
    assert full.put("Loud", 81, verb="NDEATH")
    assert numbers(full.taken()[0], "Loud") == [*range(70), 80, 81]


def test_what_was_taken_counts_for_nobody_any_longer():
    full = Full(room=80 * (100 + OVERHEAD), messages=10)
    for node, count in (("Was loud", 60), ("Loud", 20)):
        for number in range(count):
            assert full.put(node, number)
    assert not full.put("Was loud", 60)
    for _ in range(3):
        full.inbox.take(0.0)
    for number in range(20, 40):
        assert full.put("Loud", number)
    for number in range(60, 70):
        assert full.put("Was loud", number)
    assert not full.put("Loud", 40)
    assert full.refused == {(0, "Plant/Was loud"): 1, (0, "Plant/Loud"): 1}


def test_a_node_may_have_more_again_when_others_have_less():
    full = Full(room=80 * (100 + OVERHEAD), messages=10)
    for number in range(80):
        assert full.put(f"Edge {number % 8}", number)
    assert not full.put("Edge 0", 80)  # all of them have too much
    for _ in range(3):
        full.inbox.take(0.0)
    for number in range(20):
        assert full.put("Loud", number)
    for number in range(4):
        assert full.put("Edge 7", 80 + number)  # it has ten again, and the loudest has twenty
    assert full.refused == {(0, "Plant/Edge 0"): 1}


def test_nodes_of_the_same_name_behind_two_servers_are_two():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(78):
        full.put("Edge", number, server=0)
    for number in range(8):
        assert full.put("Edge", number, server=1)
    assert full.refused == {(0, "Plant/Edge"): 10}
    assert numbers(full.taken()[1], "Edge") == list(range(8))


def test_what_is_of_no_node_is_counted_together():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(80):
        strange = ("spBv1.0/STATE/host", f"elsewhere/{number}", f"spBv1.0/{'x' * 9_000}/NDATA/E")
        full.inbox.put(0, Message(strange[number % 2], bytes(100), number))
    assert full.put("Quiet", 0)
    full.inbox.put(0, Message(strange[2], b"", 0))
    assert set(full.refused) == {(0, "")}


def test_a_giant_message_does_not_push_out_more_than_it_would_have_itself():
    full = Full(room=100_000)
    for number in range(180):
        full.put("Loud", number)
    assert not full.put("Giant", 0, size=60_000)
    assert not full.refused[0, "Plant/Loud"]
    assert full.put("Giant", 1, size=40_000)
    assert full.refused == {(0, "Plant/Loud"): 61, (0, "Plant/Giant"): 1}
    assert not full.put("Giant", 2, size=200_000, verb="NBIRTH")


def test_births_that_a_server_keeps_are_their_nodes_and_go_like_its_births():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(100):
        kept = Message(f"{CERTIFICATE_PREFIX}{topic('Loud', 'NBIRTH')}", bytes(100), number)
        assert full.inbox.put(0, kept, certificate=True)
        if number < 5:
            assert full.put("Quiet", number, size=0)
    waiting = []
    quiet = 0
    while batch := full.inbox.take(0.0):
        waiting += [each.received_us for kept in batch.certificates.values() for each in kept]
        quiet += sum(map(len, batch.by_server.values()))
    assert quiet == 5
    assert waiting == sorted(waiting)
    assert full.refused == {(0, "Plant/Loud"): 100 - len(waiting)}
    assert full.inbox.queued_bytes == 0


def test_ends_of_connections_between_which_all_messages_went_are_one():
    full = Full(room=80 * (100 + OVERHEAD))
    for number in range(70):
        full.put("Loud", number)
    full.inbox.put_lost(0, 1)
    for number in range(70, 80):
        full.put("Loud", number)
    full.inbox.put_lost(0, 2)
    assert full.put("Quiet", 0, server=1)
    full.inbox.put_lost(0, 3)
    found = [full.inbox.take(0.0) for _ in range(4)]
    assert [each.lost for each in found] == [{}, {0: 1}, {}, {}]
    assert [list(each.by_server) for each in found] == [[0], [0], [1], []]


# ------------------------------------------------------------------ what it costs


def test_nothing_is_counted_by_node_before_the_queue_is_full(monkeypatch):
    read = []
    sender_of = shares.sender_of
    monkeypatch.setattr(shares, "sender_of", lambda *of: read.append(of) or sender_of(*of))
    full = Full(room=1_000 * OVERHEAD)
    for number in range(10):
        topics = [topic(f"Edge {index}") for index in range(100)]
        assert not full.inbox.put_many(0, topics, [b""] * 100, number)
    assert not read
    assert not full.put("Edge 0", 1_000)
    assert len(read) == 100  # each topic once


def test_a_hundred_thousand_nodes_do_not_make_it_slow(monkeypatch):
    work = Counter()

    def counted(name, function, amount):
        def wrapper(*arguments):
            work[name] += amount(*arguments)
            return function(*arguments)

        return wrapper

    def one(*_):
        return 1

    monkeypatch.setattr(shares, "sender_of", counted("topics", shares.sender_of, one))
    monkeypatch.setattr(filling, "size_of", counted("let go", shares.size_of, one))
    monkeypatch.setattr(
        shares, "fair_level", counted("levels", shares.fair_level, lambda of, _: len(of))
    )
    full = Full(room=20_000 * OVERHEAD, messages=1_000)
    for first in range(0, 100_000, 500):
        topics = [topic(f"Edge {number}") for number in range(first, first + 500)]
        full.inbox.put_many(0, topics, [b""] * 500, first)
        full.put("Loud", first, size=2_000)
        full.put("Loud", first, size=100, verb="NBIRTH")
    assert sum(full.refused.values()) > 70_000
    assert work["topics"] < 2 * 100_000
    assert work["let go"] < 100_000
    assert work["levels"] < 5 * 100_000
