"""The queue between MQTT and decoding: when a batch is handed over, and what is refused."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.generated import examples
from support.services import PATIENCE

from consumer.broker.inbox import BatchLimits, Inbox
from sparkplug.messages import Message

PLENTY = 10**9
OVERHEAD = 400  # bytes that a queued message counts beside its payload
DEADLINE = PATIENCE  # after that a waiting thread counts as stuck


class Clock:
    """Monotonic seconds that pass only when a test says so, or by `step` at every look."""

    def __init__(self, step=0.0):
        self.now = 100.0
        self.step = step

    def __call__(self):
        self.now += self.step
        return self.now


def message(number, size=10):
    return Message(f"topic/{number}", bytes(size), number)


def inbox(clock=None, *, room=PLENTY, messages=1000, size=PLENTY, delay=0.05, quiet=0.0):
    return Inbox(room, BatchLimits(messages, size, delay, quiet), clock or Clock())


def numbers(batch):
    """The messages of each server, by number."""
    return {server: [m.received_us for m in part] for server, part in batch.by_server.items()}


def waiting_take(box, timeout=DEADLINE):
    """A thread that takes one batch, and where it puts it; returns once it waits."""
    found = []
    waits = threading.Event()
    condition = box._condition
    wait = condition.wait

    def noted(seconds=None):
        waits.set()
        return wait(seconds)

    condition.wait = noted
    thread = threading.Thread(target=lambda: found.append(box.take(timeout)))
    thread.start()
    assert waits.wait(DEADLINE)
    return thread, found


def joined(thread):
    thread.join(DEADLINE)
    assert not thread.is_alive()


# When a batch is handed over


def test_a_batch_is_handed_over_when_it_has_enough_messages():
    box = inbox(messages=3)
    for number in range(3):
        box.put(0, message(number))
    assert numbers(box.take(0.0)) == {0: [0, 1, 2]}


def test_a_batch_is_handed_over_when_it_has_enough_bytes():
    box = inbox(size=3 * (100 + OVERHEAD))
    for number in range(4):
        box.put(0, message(number, size=100))
    assert numbers(box.take(0.0)) == {0: [0, 1, 2]}


def test_a_batch_is_handed_over_when_its_first_message_has_waited_long_enough():
    clock = Clock()
    box = inbox(clock, delay=0.05)
    box.put(0, message(1))
    clock.now += 0.04
    box.put(0, message(2))
    clock.now += 0.01
    assert numbers(box.take(0.0)) == {0: [1, 2]}


def test_a_batch_is_not_handed_over_before_that():
    clock = Clock(step=0.01)
    box = inbox(clock, delay=0.05)
    box.put(0, message(1))
    started = clock.now
    assert numbers(box.take(0.0)) == {0: [1]}
    assert clock.now - started == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("messages", "waited"), [(1, 0.2), (99, 0.2), (100, 0.05), (150, 0.05)])
def test_a_batch_of_few_messages_waits_for_longer(messages, waited):
    clock = Clock(step=0.01)
    box = inbox(clock, delay=0.05, quiet=0.2)
    box.put(0, message(-1))
    box.take(0.0)
    for number in range(messages):
        box.put(0, message(number))
    started = clock.now
    assert numbers(box.take(0.0)) == {0: list(range(messages))}
    assert clock.now - started == pytest.approx(waited, abs=0.015)


def test_what_comes_after_a_silence_does_not_wait_for_more():
    clock = Clock(step=0.01)
    box = inbox(clock, delay=0.05, quiet=0.2)
    waits = []
    for pause in (10.0, 10.0, 0.1, 0.0):
        clock.now += pause
        box.put(0, message(1))
        started = clock.now
        box.take(0.0)
        waits.append(clock.now - started)
    assert waits == [pytest.approx(each, abs=0.02) for each in (0.05, 0.05, 0.1, 0.2)]


def test_nothing_waits_for_more_in_the_first_seconds_of_a_connection():
    clock = Clock(step=0.01)
    box = inbox(clock, delay=0.05, quiet=0.2)
    box.hurry()
    waits = []
    for pause in (0.0, 0.0, 6.0, 0.0):
        clock.now += pause
        box.put(0, message(1))
        started = clock.now
        box.take(0.0)
        waits.append(clock.now - started)
    assert waits == [pytest.approx(each, abs=0.02) for each in (0.05, 0.05, 0.05, 0.2)]


def test_a_batch_of_few_messages_waits_no_shorter_than_others():
    clock = Clock(step=0.01)
    box = inbox(clock, delay=0.05, quiet=0.01)
    box.put(0, message(1))
    started = clock.now
    box.take(0.0)
    assert clock.now - started == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("together", [False, True])
def test_a_batch_that_waits_for_more_is_handed_over_when_that_has_come(together):
    clock = Clock()
    box = inbox(clock, delay=0.05, quiet=10_000.0)
    box.put(0, message(-1))
    clock.now += 0.06
    box.take(0.0)
    box.put(0, message(0))
    clock.now += 0.06
    thread, found = waiting_take(box)
    more = [message(number) for number in range(1, 100)]
    if together:
        box.put_many(0, [m.topic for m in more], [m.payload for m in more], 0)
    else:
        for each in more:
            box.put(0, each)
    joined(thread)
    assert len(found[0].by_server[0]) == 100


def test_a_full_batch_does_not_wait_for_its_delay():
    box = inbox(messages=2, delay=10_000.0)
    box.put(0, message(1))
    thread, found = waiting_take(box)
    box.put(0, message(2))
    joined(thread)
    assert numbers(found[0]) == {0: [1, 2]}


def test_without_messages_the_answer_is_an_empty_batch():
    assert not inbox().take(0.0)


def test_a_message_wakes_the_one_that_waits_for_it():
    box = inbox(messages=1)
    thread, found = waiting_take(box)
    box.put(0, message(1))
    joined(thread)
    assert numbers(found[0]) == {0: [1]}


def test_whoever_waits_for_messages_can_be_woken_without_any():
    box = inbox()
    thread, found = waiting_take(box)
    box.wake()
    thread.join(DEADLINE)
    assert [bool(batch) for batch in found] == [False]


def test_what_fills_up_when_somebody_is_woken_goes_on_filling_up():
    box = inbox(quiet=10_000.0)
    box.put(0, message(1))
    thread, found = waiting_take(box)
    box.wake()
    thread.join(DEADLINE)
    assert [bool(batch) for batch in found] == [False]
    box.put(0, message(2))
    assert numbers(box.take(0, at_once=True)) == {0: [1, 2]}


def test_who_is_woken_before_he_waits_does_not_wait_once():
    box = inbox()
    box.wake()
    assert not box.take(DEADLINE)
    box.put(0, message(1))
    box.wake()
    assert not box.take(DEADLINE)
    assert numbers(box.take(0, at_once=True)) == {0: [1]}


def test_a_batch_that_is_due_goes_before_a_wake():
    box = inbox(messages=2)
    box.put(0, message(1))
    box.put(0, message(2))
    box.wake()
    assert numbers(box.take(DEADLINE)) == {0: [1, 2]}


def test_a_large_message_is_a_batch_of_its_own():
    box = inbox(size=1000)
    box.put(0, message(1, size=5000))
    box.put(0, message(2, size=5000))
    assert numbers(box.take(0.0)) == {0: [1]}
    assert numbers(box.take(0.0)) == {0: [2]}


def test_a_long_topic_counts_as_a_payload_does():
    box = inbox(room=100_000)
    long = Message("spBv1.0/" + "x" * 60_000, b"", 1)
    assert not box.put(0, long)
    assert box.put(0, message(2))
    assert box.queued_bytes == 10 + OVERHEAD


def test_what_is_left_over_comes_with_the_next_batch():
    clock = Clock()
    box = inbox(clock, messages=3)
    for number in range(7):
        box.put(0, message(number))
    assert numbers(box.take(0.0)) == {0: [0, 1, 2]}
    box.put(0, message(7))
    assert numbers(box.take(0.0)) == {0: [3, 4, 5]}
    clock.now += 1.0
    assert numbers(box.take(0.0)) == {0: [6, 7]}
    assert not box.take(0.0)


# Messages that came together


def several(numbers_and_sizes):
    """Topics and payloads of some nodes, some of the topics longer than they usually are."""
    return (
        [
            f"spBv1.0/P/{'NBIRTH' if number % 11 == 5 else 'NDATA'}/{number % 4 // 2}"
            + "x" * (300 if number % 7 == 3 else 0)
            for number, _ in numbers_and_sizes
        ],
        [bytes(size) for _, size in numbers_and_sizes],
    )


@given(data=st.data())
@examples(100)
def test_messages_put_together_are_put_as_one_after_the_other(data):
    room, messages, size = (
        data.draw(st.integers(500, 20_000)),
        data.draw(st.integers(1, 8)),
        data.draw(st.integers(1, 3_000)),
    )
    numbered = itertools.count()
    one_by_one, together = (
        inbox(room=room, messages=messages, size=size, delay=0.0) for _ in range(2)
    )

    def taken(box):
        batch = box.take(0.0)
        return {server: list(part) for server, part in batch.by_server.items()}, batch.lost

    for _ in range(data.draw(st.integers(1, 6))):
        server = data.draw(st.integers(0, 1))
        sizes = data.draw(st.lists(st.sampled_from([0, 10, 500, 2_500]), max_size=12))
        topics, payloads = several([(next(numbered), size) for size in sizes])
        retained, at_us = data.draw(st.booleans()), data.draw(st.integers(0, 9))
        refused = sum(
            not one_by_one.put(server, Message(topic, payload, at_us, retained))
            for topic, payload in zip(topics, payloads, strict=True)
        )
        assert together.put_many(server, topics, payloads, at_us, retained=retained) == refused
        if data.draw(st.booleans()):
            for box in (one_by_one, together):
                box.put_lost(server, at_us)
        if data.draw(st.booleans()):
            assert taken(one_by_one) == taken(together)
        assert one_by_one.queued_bytes == together.queued_bytes
    while one_by_one.queued_bytes or together.queued_bytes:
        assert taken(one_by_one) == taken(together)


def test_nothing_put_together_is_nothing():
    box = inbox()
    box.put_lost(0, 1)
    assert box.put_many(0, [], [], 1) == 0
    box.put_lost(0, 2)
    assert [box.take(0.0).lost for _ in range(2)] == [{0: 1}, {}]


# Order and servers


def test_messages_of_each_server_keep_their_order():
    clock = Clock()
    box = inbox(clock)
    for number in range(9):
        box.put(number % 3, message(number))
    clock.now += 1.0
    assert numbers(box.take(0.0)) == {0: [0, 3, 6], 1: [1, 4, 7], 2: [2, 5, 8]}


def test_limits_count_the_messages_of_all_servers_together():
    box = inbox(messages=4)
    for number in range(5):
        box.put(number, message(number))
    assert numbers(box.take(0.0)) == {0: [0], 1: [1], 2: [2], 3: [3]}


def test_many_threads_may_put_and_none_of_their_messages_is_lost_or_reordered():
    box = inbox(messages=100, delay=0.001)
    per_server = 2000

    def put_all(server):
        for number in range(per_server):
            assert box.put(server, message(number))

    threads = [threading.Thread(target=put_all, args=(server,)) for server in range(4)]
    for thread in threads:
        thread.start()

    def close_at_the_end():
        for thread in threads:
            thread.join()
        box.close()

    closing = threading.Thread(target=close_at_the_end)
    closing.start()
    found = {server: [] for server in range(4)}
    while (batch := box.take(DEADLINE)) is not None:
        assert sum(len(messages) for messages in batch.by_server.values()) <= 100
        for server, of_server in numbers(batch).items():
            found[server] += of_server
    joined(closing)
    assert found == {server: list(range(per_server)) for server in range(4)}


# The end of a connection


def test_the_end_of_a_connection_comes_after_what_it_delivered_and_before_what_comes_next():
    clock = Clock()
    box = inbox(clock)
    box.put(0, message(1))
    box.put(1, message(2))
    box.put_lost(0, 77)
    box.put(0, message(3))
    clock.now += 1.0
    first, second = box.take(0.0), box.take(0.0)
    assert (numbers(first), first.lost) == ({0: [1], 1: [2]}, {0: 77})
    assert (numbers(second), second.lost) == ({0: [3]}, {})
    assert box.queued_bytes == 0


def test_the_end_of_a_connection_is_told_at_once_even_if_nothing_else_is_there():
    box = inbox(delay=10_000.0)
    thread, found = waiting_take(box)
    box.put_lost(2, 77)
    joined(thread)
    assert (found[0].by_server, found[0].lost) == ({}, {2: 77})
    assert found[0]


def test_ends_that_wait_with_no_message_between_them_are_one():
    box = inbox(room=1000)
    for number in range(100):
        box.put_lost(0, number)
        box.put_lost(1, number)
        assert not box.put(0, message(1, size=1000))
    assert [box.take(0.0).lost for _ in range(3)] == [{0: 0}, {1: 0}, {}]
    assert not box.take(0.0)
    box.put_lost(0, 200)
    box.put(0, message(1))
    box.put_lost(0, 300)
    assert [box.take(0.0).lost for _ in range(2)] == [{0: 200}, {0: 300}]


# Births that a server keeps


def test_births_that_a_server_keeps_are_apart_from_its_messages_and_bounded_like_them():
    box = inbox(room=3 * (100 + OVERHEAD), messages=3)
    assert box.put(0, message(1, size=100))
    assert box.put(0, message(2, size=100), certificate=True)
    assert box.put(1, message(3, size=100), certificate=True)
    assert not box.put(1, message(4, size=100), certificate=True)
    batch = box.take(0.0)
    assert numbers(batch) == {0: [1]}
    assert {
        server: [m.received_us for m in kept] for server, kept in batch.certificates.items()
    } == {
        0: [2],
        1: [3],
    }
    assert box.queued_bytes == 0


# Bounds


def test_a_message_that_does_not_fit_is_refused():
    box = inbox(room=2 * (100 + OVERHEAD))
    assert box.put(0, message(1, size=100))
    assert box.put(0, message(2, size=100))
    assert not box.put(0, message(3, size=100))
    assert not box.put(0, message(4, size=0))
    assert box.queued_bytes == 2 * (100 + OVERHEAD)


def test_what_was_refused_is_gone_and_the_rest_is_untouched():
    clock = Clock()
    box = inbox(clock, room=2 * (100 + OVERHEAD))
    for number in range(5):
        box.put(0, message(number, size=100))
    clock.now += 1.0
    assert numbers(box.take(0.0)) == {0: [0, 1]}


def test_taking_makes_room():
    clock = Clock()
    box = inbox(clock, room=1000)
    assert box.put(0, message(1, size=500))
    assert not box.put(0, message(2, size=500))
    clock.now += 1.0
    box.take(0.0)
    assert box.queued_bytes == 0
    assert box.put(0, message(3, size=500))


def test_a_message_larger_than_all_room_is_refused():
    box = inbox(room=1000)
    assert not box.put(0, message(1, size=1000))
    assert box.queued_bytes == 0


def test_many_tiny_messages_are_bounded_too():
    box = inbox(room=100 * OVERHEAD)
    assert sum(box.put(0, message(number, size=0)) for number in range(1000)) == 100


# The end


def test_a_closed_inbox_is_emptied_without_delay_and_then_over():
    box = inbox(messages=2, delay=10_000.0)
    for number in range(5):
        box.put(0, message(number))
    box.close()
    assert numbers(box.take(DEADLINE)) == {0: [0, 1]}
    assert numbers(box.take(DEADLINE)) == {0: [2, 3]}
    assert numbers(box.take(DEADLINE)) == {0: [4]}
    assert box.take(DEADLINE) is None
    assert box.take(DEADLINE) is None
    assert box.queued_bytes == 0


def test_closing_wakes_the_one_that_waits():
    box = inbox()
    thread, found = waiting_take(box)
    box.close()
    joined(thread)
    assert found == [None]


def test_closing_hands_over_a_batch_that_is_still_filling():
    box = inbox(delay=10_000.0)
    box.put(0, message(1))
    thread, found = waiting_take(box)
    box.close()
    joined(thread)
    assert numbers(found[0]) == {0: [1]}
