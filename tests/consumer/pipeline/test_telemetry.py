"""Counters, their names, and how often the log says what was not read."""

import logging
import re
import threading
from collections import Counter

import pytest
from prometheus_client import generate_latest
from support.clock import Clock

from consumer.pipeline.telemetry import Telemetry
from sparkplug.messages import Reason

LOGGER = "consumer.pipeline.remarks"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def telemetry(clock):
    return Telemetry(clock)


def sample(telemetry, name, **labels):
    """One number of /metrics."""
    return telemetry.registry.get_sample_value(f"sparkplug_zerobus_{name}", labels)


@pytest.fixture
def lines(caplog):
    """What was logged so far."""
    caplog.set_level(logging.INFO, LOGGER)
    return lambda: [record.getMessage() for record in caplog.records if record.name == LOGGER]


# Counting


def test_messages_rows_and_batches_are_counted_by_server(telemetry):
    telemetry.add_received("a", 10, 5000)
    telemetry.add_received("b", 1, 20)
    telemetry.add_received("a", 5, 100)
    telemetry.add_decoded("a", 150, 0.002)
    telemetry.add_decoded("b", 0, 0.004)
    assert sample(telemetry, "messages_received_total", server="a") == 15
    assert sample(telemetry, "received_bytes_total", server="a") == 5100
    assert sample(telemetry, "messages_received_total", server="b") == 1
    assert sample(telemetry, "rows_produced_total", server="a") == 150
    assert sample(telemetry, "batches_decoded_total") == 2
    assert sample(telemetry, "decode_seconds_count") == 2
    assert sample(telemetry, "decode_seconds_sum") == pytest.approx(0.006)


def test_totals_sum_up_all_servers(telemetry):
    telemetry.add_received("a", 10, 5000)
    telemetry.add_received("b", 1, 20)
    telemetry.add_decoded("a", 150, 0.002)
    telemetry.add_decoded("b", 7, 0.002)
    telemetry.add_dropped(3, "spool_full")
    telemetry.add_rebirth("sequence_gap")
    telemetry.add_discarded(5, "spool_full", "a")
    telemetry.add_dead_messages({"data_before_birth": 2, "hold_full": 1})
    assert telemetry.totals == {
        "messages_received": 11,
        "bytes_received": 5020,
        "rows_produced": 157,
        "batches_decoded": 2,
        "rebirths_requested": 1,
        "rows_dropped": 3,
        "messages_discarded": 5,
        "dead_messages": 3,
    }


def test_rebirths_drops_and_commits_are_counted(telemetry):
    telemetry.add_rebirth("sequence_gap")
    telemetry.add_rebirth("unknown_alias")
    telemetry.add_rebirth("sequence_gap")
    telemetry.add_dropped(40, "spool_full")
    telemetry.add_spooled(0.01)
    telemetry.add_acknowledged(0.3)
    telemetry.add_acknowledged(7200.0)
    assert sample(telemetry, "rebirths_requested_total", reason="sequence_gap") == 2
    assert sample(telemetry, "rows_dropped_total", reason="spool_full") == 40
    assert sample(telemetry, "spool_commit_seconds_count") == 1
    assert sample(telemetry, "acknowledgement_seconds_sum") == pytest.approx(7200.3)
    assert sample(telemetry, "acknowledgement_seconds_bucket", le="0.3") == 1
    assert sample(telemetry, "acknowledgement_seconds_bucket", le="21600.0") == 2


def test_reasons_of_a_batch_are_counted_by_name(telemetry):
    telemetry.remarks.note_all(Counter({Reason.BAD_TOPIC: 3, Reason.COMMAND: 1}), "a", {})
    telemetry.remarks.note("spool_full", 7, "a")
    telemetry.remarks.note_all(Counter({Reason.BAD_TOPIC: 2}), "b", {})
    assert telemetry.reasons == {"bad_topic": 5, "command": 1, "spool_full": 7}
    assert sample(telemetry, "remarks_total", reason="bad_topic") == 5
    assert sample(telemetry, "remarks_total", reason="command") == 1


def test_two_consumers_in_one_process_count_for_themselves(clock):
    first, second = Telemetry(clock), Telemetry(clock)
    first.add_received("a", 1, 1)
    assert sample(second, "messages_received_total", server="a") is None


def test_threads_may_count_at_the_same_time(telemetry):
    def count():
        for _ in range(2000):
            telemetry.remarks.note("command", 1, "a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.reasons == {"command": 8000}
    assert sample(telemetry, "remarks_total", reason="command") == 8000


def test_every_name_follows_the_naming_rule(telemetry):
    telemetry.add_received("a", 1, 1)
    telemetry.add_decoded("a", 1, 0.1)
    text = generate_latest(telemetry.registry).decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert types
    for name, kind in types.items():
        assert name.startswith("sparkplug_zerobus_")
        if not name.endswith("_created"):
            assert name.endswith("_total") == (kind == "counter")
    assert len(re.findall(r"^# HELP \S+ \S", text, re.MULTILINE)) == len(types)


# Logging


def test_a_reason_is_logged_with_count_server_and_example(telemetry, lines):
    counts = Counter({Reason.BAD_PAYLOAD: 3})
    telemetry.remarks.note_all(counts, "plant-a", {Reason.BAD_PAYLOAD: "spBv1.0/G/NDATA/E"})
    assert lines() == ["bad_payload: 3 from plant-a, for example on spBv1.0/G/NDATA/E"]


def test_an_example_belongs_to_its_reason(telemetry, lines):
    counts = Counter({Reason.BAD_TOPIC: 1, Reason.BAD_PAYLOAD: 1})
    telemetry.remarks.note_all(counts, "a", {Reason.BAD_TOPIC: "plant/x"})
    assert lines() == ["bad_topic: 1 from a, for example on plant/x", "bad_payload: 1 from a"]


def test_records_carry_their_parts_for_the_json_log(telemetry, caplog):
    telemetry.remarks.note("bad_topic", 3, "plant-a")
    (record,) = caplog.records
    assert (record.levelname, record.reason, record.count, record.server) == (
        "WARNING",
        "bad_topic",
        3,
        "plant-a",
    )


def test_a_reason_is_logged_once_in_ten_seconds_with_all_that_was_counted(telemetry, clock, lines):
    for _ in range(100):
        telemetry.remarks.note("bad_topic", 2, "a")
        clock.now += 0.099
    assert lines() == ["bad_topic: 2 from a"]
    clock.now = 1010.0
    telemetry.remarks.note("bad_topic", 2, "a")
    assert lines()[1:] == ["bad_topic: 200 from a"]
    clock.now += 10.0
    telemetry.remarks.note("bad_topic", 1, "a")
    assert lines()[2:] == ["bad_topic: 1 from a"]


def test_what_was_put_off_is_logged_though_nothing_more_occurs(telemetry, clock, lines):
    telemetry.remarks.note("bad_topic", 1, "a", "plant/x")
    telemetry.remarks.note("bad_topic", 4, "a", "plant/y")
    telemetry.remarks.note("bad_topic", 3, "a")
    telemetry.remarks.tell()
    clock.now += 10.0
    telemetry.remarks.tell()
    telemetry.remarks.tell()
    assert lines()[1:] == ["bad_topic: 7 from a, for example on plant/y"]


def test_a_reason_of_one_server_does_not_silence_that_of_another(telemetry, lines):
    telemetry.remarks.note("bad_topic", 1, "a")
    telemetry.remarks.note("bad_topic", 2, "b")
    assert lines() == ["bad_topic: 1 from a", "bad_topic: 2 from b"]


def test_at_the_end_all_that_was_put_off_is_logged(telemetry, lines):
    for count in (1, 2):
        telemetry.remarks.note("bad_topic", count, "a")
    telemetry.remarks.tell(at_once=True)
    assert lines() == ["bad_topic: 1 from a", "bad_topic: 2 from a"]


def test_reasons_do_not_silence_each_other(telemetry, lines):
    telemetry.remarks.note("bad_topic", 1, "a")
    telemetry.remarks.note("bad_payload", 1, "a")
    assert lines() == ["bad_topic: 1 from a", "bad_payload: 1 from a"]


EXPECTED = {"certificate", "command", "host_state", "repeated_birth_value", "retained"}


@pytest.mark.parametrize("reason", sorted(EXPECTED))
def test_ordinary_traffic_is_counted_without_a_word(telemetry, lines, reason):
    telemetry.remarks.note_all(Counter({reason: 1000}), "a", {})
    assert lines() == []
    assert telemetry.reasons == {str(reason): 1000}


@pytest.mark.parametrize("reason", sorted(set(Reason) - EXPECTED))
def test_everything_else_is_logged(telemetry, lines, reason):
    telemetry.remarks.note_all(Counter({reason: 1}), "a", {})
    assert lines() == [f"{reason}: 1 from a"]
