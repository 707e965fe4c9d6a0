"""Alarms about edge nodes, as the fleet tells them: duplicate ids, implausible times."""

import numpy as np
import pytest
from oracle.messages import ARRIVED, MEASURED_MS, SENT_MS
from support.columnar import change, message, metric, tag
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.memory import BirthMemory, RememberedBirth

SECOND = 1_000_000
ALARMS = (EventKind.DUPLICATE_NODE, EventKind.CLOCK)
YEAR_MS = 365 * 24 * 3600 * 1000


def nbirth(bd_seq=1, seq=0, **options):
    bd = metric("bdSeq", DataType.Int64, long_value=bd_seq)
    return message("NBIRTH", bd, tag("Ramp", 0), seq=seq, **options)


def data(seq, value=0.0, **options):
    return message("NDATA", change(0, value), seq=seq % 256, **options)


def valued(seq, timestamp_ms, historical=False, **options):
    ramp = metric(alias=0, double_value=1.0, timestamp=timestamp_ms, is_historical=historical)
    return message("NDATA", ramp, seq=seq, **options)


def on_time(make, *args, at=ARRIVED, delay_ms=50, **options):
    """A message whose payload was made a moment before it came."""
    return make(*args, timestamp=at // 1000 - delay_ms, received_us=at, **options)


def born(**options):
    server = Server(reorder_timeout=2.0, **options)
    server.at(0.0, on_time(nbirth))
    server.told()
    return server


def reasons(server):
    return [(each.kind, each.reason) for each in server.told(*ALARMS)]


# Two publishers


def interleaved(server, rounds, *, start=10.0, other=200, pause=1.5):
    """Two publishers of one node id, each with a count of its own, in turns."""
    now = start
    for number in range(rounds):
        server.at(now, data(1 + number, number))
        server.at(now + pause / 2, data(other + number, -number - 1.0))
        now += pause
    return now


def test_two_publishers_that_count_side_by_side_are_noticed():
    server = born()
    interleaved(server, 12)
    [event] = server.told(*ALARMS)
    assert (event.kind, event.group_id, event.edge_node_id) == (
        EventKind.DUPLICATE_NODE,
        "Plant",
        "Edge",
    )
    assert event.reason == "interleaved_seq"
    assert (
        event.detail == "two publishers use this id: messages with two counts of seq come in turns"
    )
    assert server.fleet.alarms.duplicates.alarmed == {("Plant", "Edge")}


@pytest.mark.parametrize(
    ("other", "timeout"), [(2, 0.0), (60, 2.0), (129, 0.0), (129, 2.0), (254, 2.0)]
)
def test_they_are_noticed_wherever_the_second_one_begins(other, timeout):
    server = Server(reorder_timeout=timeout)
    server.at(0.0, nbirth())
    interleaved(server, 275, other=other)
    assert reasons(server) == [(EventKind.DUPLICATE_NODE, "interleaved_seq")]


def test_two_slow_publishers_are_noticed_too():
    """Both were asked for births, and count from there; neither hurries."""
    server = born()
    server.at(1.0, nbirth())
    interleaved(server, 12, other=1, pause=40.0)
    assert reasons(server) == [(EventKind.DUPLICATE_NODE, "interleaved_seq")]


def test_two_publishers_that_both_answer_rebirth_requests_are_noticed():
    server = born()
    for number in range(2):
        server.at(10.0 + number, on_time(nbirth, 17))
        server.at(20.0 + number, on_time(nbirth, 1))
    assert reasons(server) == [(EventKind.DUPLICATE_NODE, "interleaved_bd_seq")]


def test_two_clients_that_throw_each_other_out_are_noticed():
    server = born()
    for number in range(3):
        for bd_seq in (17 + number, 2 + number):
            bd = metric("bdSeq", DataType.Int64, long_value=bd_seq)
            server.at(10.0 + number, nbirth(bd_seq))
            server.at(10.5 + number, message("NDEATH", bd, seq=None))
    assert reasons(server) == [(EventKind.DUPLICATE_NODE, "interleaved_bd_seq")]


def test_the_alarm_is_over_after_ten_quiet_minutes():
    server = born()
    now = interleaved(server, 12)
    server.told()
    server.at(now + 1, nbirth())
    for minute in range(1, 12):
        server.tick(now + minute * 60.0)
    assert reasons(server) == [(EventKind.DUPLICATE_NODE, "interleaved_seq_over")]
    assert not server.fleet.alarms.duplicates.alarmed


def test_lost_late_doubled_and_swapped_messages_are_no_second_publisher():
    server = born()
    random = np.random.default_rng(5)
    seq, now, waiting = 1, 10.0, []
    for number in range(1000):
        each = data(seq, number)
        seq += 1
        now += float(random.choice([0.01, 0.5, 3.0]))
        match random.choice(["in order", "lost", "doubled", "late"], p=[0.85, 0.05, 0.05, 0.05]):
            case "in order":
                server.at(now, each)
            case "doubled":
                server.at(now, each, each)
            case "late":
                waiting.append((number + int(random.integers(1, 30)), each))
        for due, late in [pair for pair in waiting if pair[0] <= number]:
            server.at(now, late)
            waiting.remove((due, late))
    assert server.counts["sequence_gap"] > 30
    assert server.counts["late"] > 20
    assert reasons(server) == []


def test_rebirths_and_restarts_of_one_publisher_are_no_second_one():
    server = born()
    for number in range(100):
        server.at(10.0 * number, on_time(nbirth, number // 3))
        server.at(10.0 * number + 1, data(1), data(2), data(3))
    assert reasons(server) == []


def test_a_publisher_that_begins_to_count_anew_without_a_birth_is_no_second_one():
    server = born()
    for number in range(50):
        server.at(100.0 * number, *(data(1 + n, number) for n in range(20)))
        server.tick(100.0 * number + 10.0)
    assert server.counts["sequence_gap"] >= 49
    assert reasons(server) == []


# Times


def test_times_in_seconds_are_told_with_an_example():
    server = born()
    [row] = server.at(1.0, on_time(valued, 1, ARRIVED // 1_000_000))
    [event] = server.told(*ALARMS)
    assert (event.kind, event.reason) == (EventKind.CLOCK, "seconds_for_milliseconds")
    assert (event.group_id, event.edge_node_id, event.time_us) == ("Plant", "Edge", ARRIVED)
    assert event.detail == (
        "times look like seconds where milliseconds belong, "
        "for example Ramp: 1970-01-20T16:13:20.100Z"
    )
    assert row["event_time"] == ARRIVED // 1000


def test_a_metric_of_a_device_is_shown_with_its_device():
    server = born()
    level = message("DBIRTH", tag("Level", 2), seq=1)
    late = metric(alias=2, double_value=1.0, timestamp=MEASURED_MS + YEAR_MS)
    server.at(1.0, level, message("DDATA", late, seq=2))
    [event] = server.told(EventKind.CLOCK)
    assert "for example Boiler/Level: 2024-" in event.detail


def test_a_present_value_of_the_last_millennium_is_told_and_one_of_history_is_not():
    server = born()
    server.at(1.0, on_time(valued, 1, 1000, historical=True))
    assert reasons(server) == []
    server.at(2.0, on_time(valued, 2, 1000))
    assert reasons(server) == [(EventKind.CLOCK, "far_past")]


def test_birth_values_may_be_old():
    server = Server()
    old = metric("Ramp", DataType.Double, double_value=1.0, timestamp=0)
    server.at(0.0, message("NBIRTH", old))
    assert reasons(server) == []


def test_a_clock_that_is_ahead_is_told_with_how_far():
    server = born()
    for number in range(3):
        server.at(1.0 + number, on_time(data, 1 + number, delay_ms=-2 * 3600 * 1000))
    [event] = server.told(EventKind.CLOCK)
    assert (event.reason, event.detail) == ("clock_skew", "the clock is 2:00:00 ahead")
    assert server.fleet.alarms.most_ahead == 7200.0
    assert server.fleet.alarms.clock_problems == 1


def test_a_clock_that_is_behind_is_told_when_it_has_been_so_for_a_while():
    server = born()
    for number in range(100):
        at = ARRIVED + number * 10 * SECOND
        server.at(1.0 + number * 10, on_time(data, 1 + number, at=at, delay_ms=3600 * 1000))
    [event] = server.told(EventKind.CLOCK)
    assert event.detail == "the clock is 1:00:00 behind, or messages are that late"
    assert server.fleet.alarms.most_behind == 3600.0


def test_the_end_of_a_problem_is_told():
    server = born()
    server.at(1.0, on_time(valued, 1, 1000))
    server.told()
    server.tick(602.0)
    [event] = server.told(EventKind.CLOCK)
    assert (event.reason, event.group_id, event.edge_node_id) == ("far_past_over", "Plant", "Edge")


def test_deaths_say_nothing_about_clocks():
    """The will was written when the node connected, days ago."""
    server = born()
    for number in range(5):
        death = metric("bdSeq", DataType.Int64, long_value=1)
        server.at(
            400.0 * number,
            nbirth(timestamp=ARRIVED // 1000),
            message("NDEATH", death, seq=None, timestamp=SENT_MS - YEAR_MS),
        )
    assert reasons(server) == []
    assert server.fleet.alarms.most_behind < 200


def test_births_that_are_remembered_say_nothing_about_clocks_nor_publishers():
    server = Server(reorder_timeout=2.0)
    old = nbirth(timestamp=1000)
    server.fleet.memory.restore(
        [RememberedBirth(BirthMemory(0, "Plant", "Edge", None, old), True, False)], b"\x01\x00"
    )
    server.tick(1.0)
    assert reasons(server) == []
