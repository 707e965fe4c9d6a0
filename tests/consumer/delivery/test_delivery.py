"""Delivery: what is in the spool arrives in the table, whatever the service does meanwhile.

Real SDK, real server, real Delta tables. Every test ends with what landed.
"""

import logging
import math
import random
import time
from dataclasses import replace

import pytest
from support.delivering import QUICK
from support.services import PATIENCE, PROMPT, wait_until
from support.tag_events import (
    DESCRIPTOR,
    SECRET,
    TABLE,
    ServerProcess,
    event,
    events,
    landed,
)

from consumer.delivery.calls import CallLimits
from consumer.delivery.options import Backoff, DeliveryOptions
from consumer.delivery.stats import StreamState
from consumer.errors import FailureKind
from consumer.rows.encoded import EncodedRows
from consumer.sinks.sink import MAX_CALL_BYTES
from consumer.sinks.zerobus import StreamOptions

pytestmark = pytest.mark.usefixtures("few_authorities")


class TestInOrder:
    def test_what_an_earlier_run_left_is_sent_before_what_is_new(self, server, plant_for):
        plant = plant_for(server, start=False)
        plant.add(batches=5)
        plant.delivery.start()
        plant.add(batches=5)
        plant.landed_once()
        assert plant.stats().rows_acked == 1000
        assert plant.stats().failures == 0

    def test_rows_land_in_the_order_of_the_spool(self, plant):
        chance = random.Random(3)
        for _ in range(30):
            plant.add(rows=chance.randint(1, 400))
        plant.landed_once()
        assert plant.spool.stats().rows == 0

    def test_a_stream_is_opened_before_there_is_anything_to_send(self, plant):
        plant.wait_for(StreamState.OPENED)
        assert plant.stats().generation == 1

    def test_what_is_acknowledged_leaves_the_spool_in_one_commit_now_and_then(
        self, server, plant_for
    ):
        plant = plant_for(server, options=replace(QUICK, trim_interval=3600.0))
        plant.add()
        wait_until(lambda: plant.spool.stats().rows == 0, what="the first trim")
        for number in (2, 3, 4):
            plant.add()
            wait_until(lambda number=number: plant.stats().rows_acked == number * 100)
        assert plant.spool.stats().rows >= 200
        plant.landed_once()
        assert plant.spool.stats().rows == 0

    def test_what_is_acknowledged_leaves_a_spool_at_once_that_has_not_much_room(
        self, server, plant_for
    ):
        plant = plant_for(server, options=replace(QUICK, trim_interval=3600.0))
        plant.add()
        wait_until(lambda: plant.spool.stats().rows == 0, what="the first trim")
        plant.spool.space.note_full()
        plant.add()
        wait_until(lambda: plant.spool.stats().rows == 0)

    def test_what_is_acknowledged_does_not_wait_for_the_next_stream(self, server, plant_for):
        plant = plant_for(
            server, options=replace(QUICK, trim_interval=3600.0, retry=Backoff(600, 600))
        )
        plant.add()
        wait_until(lambda: plant.spool.stats().rows == 0, what="the first trim")
        plant.add()
        wait_until(lambda: plant.stats().rows_acked == 200)
        server.faults.fail_stream("UNAVAILABLE", "not today", times=None)
        plant.add(rows=1)  # which is not acknowledged
        plant.wait_for(StreamState.BACKING_OFF)
        assert plant.spool.stats().rows == 1

    def test_a_lone_row_does_not_wait_for_company(self, server, plant_for):
        plant = plant_for(server, options=DeliveryOptions(max_delay=60.0))
        plant.wait_for(StreamState.OPENED)
        plant.add(rows=1)
        wait_until(lambda: plant.stats().rows_acked == 1)

    def test_small_batches_share_calls_while_others_are_in_flight(self, server, plant_for):
        server.faults.delay_acks(math.inf)
        plant = plant_for(server, options=replace(QUICK, max_delay=PATIENCE))
        plant.wait_for(StreamState.OPENED)
        plant.add(rows=10, batches=500)
        wait_until(lambda: plant.stats().calls_sent)
        server.faults.clear()
        plant.landed_once()
        assert plant.stats().calls_sent <= 12

    def test_rows_wait_for_a_fuller_call_no_longer_than_max_delay(self, server, plant_for):
        server.faults.delay_acks(30)
        plant = plant_for(server, options=DeliveryOptions(max_delay=0.2))
        plant.wait_for(StreamState.OPENED)
        plant.add(rows=1)
        wait_until(lambda: plant.stats().calls_sent == 1)
        started = time.monotonic()
        plant.add(rows=1)
        wait_until(lambda: plant.stats().calls_sent == 2)
        assert time.monotonic() - started >= 0.15
        server.faults.clear()
        plant.landed_once()

    def test_no_more_calls_are_in_flight_than_allowed(self, server, plant_for):
        server.faults.delay_acks(30)
        options = DeliveryOptions(limits=CallLimits(max_records=10), max_inflight=3)
        plant = plant_for(server, options=options)
        plant.add(rows=100)
        wait_until(lambda: plant.stats().inflight_calls == 3)
        assert server.counters().requests_received <= 3
        assert plant.stats().rows_sent == 30
        server.faults.clear()
        plant.landed_once()

    def test_no_more_bytes_are_in_flight_than_allowed(self, server, plant_for):
        server.faults.delay_acks(30)
        options = DeliveryOptions(limits=CallLimits(max_records=1), max_inflight_bytes=1000)
        plant = plant_for(server, options=options)
        plant.add(rows=100)
        wait_until(lambda: plant.stats().inflight_rows >= 4)
        assert plant.stats().inflight_rows < 10
        server.faults.clear()
        plant.landed_once()

    def test_a_batch_leaves_the_spool_only_when_acknowledged(self, server, plant_for):
        server.faults.acks.drop()
        plant = plant_for(server)
        plant.add(batches=3)
        wait_until(lambda: server.counters().records_committed == 300)
        assert plant.delivery.drain(0.1) == 300
        assert plant.spool.stats().batches == 3

    def test_what_memory_cannot_hold_is_read_back_in_order(self, server, plant_for):
        server.faults.delay_acks(math.inf)
        options = DeliveryOptions(
            handover_bytes=50_000, read_bytes=100_000, max_inflight_bytes=50_000
        )
        plant = plant_for(server, options=options)
        plant.wait_for(StreamState.OPENED)
        plant.add(rows=100, batches=100)
        assert plant.stats().lagging
        server.faults.clear()
        plant.landed_once()
        plant.add()
        plant.landed_once()
        assert not plant.stats().lagging

    def test_memory_stays_bounded_while_zerobus_is_away(self, server, plant_for):
        server.faults.fail_creation("UNAVAILABLE", "away", times=None)
        options = DeliveryOptions(
            handover_bytes=50_000,
            read_bytes=50_000,
            max_inflight_bytes=50_000,
            retry=Backoff(0.01, 0.01),
        )
        plant = plant_for(server, options=options)
        plant.add(rows=100, batches=50)  # some 900 kB
        failures = plant.stats().failures
        wait_until(lambda: plant.stats().failures > failures + 3)
        plant.add(rows=100, batches=50)
        [stream] = plant.delivery.streams
        in_flight, newest = stream._in_flight, plant.delivery._batches.newest
        assert in_flight.uncut_bytes <= 50_000 + 50_000
        assert newest.nbytes <= 50_000
        server.faults.clear()
        plant.landed_once()

    def test_batches_that_were_only_spooled_are_found_when_woken(self, plant):
        plant.wait_for(StreamState.OPENED)
        plant.landed_once()
        plant.spool.append(TABLE, events(0, 50), schema_id=plant.schema_id)
        plant.number = 50
        plant.delivery.wake()
        plant.landed_once()

    def test_batches_of_an_older_schema_are_sent_with_their_own_descriptor(self, server, plant_for):
        plant = plant_for(server, start=False)
        plant.add()
        other = plant.spool.schemas.register(DESCRIPTOR + b"\x1a\x00")  # an import, else the same
        batch = plant.spool.append(TABLE, events(100, 200), schema_id=other)
        plant.number = 200
        plant.delivery.start()
        plant.delivery.submit(batch)
        plant.add()
        plant.landed_once()
        assert plant.stats().generation == 3
        assert plant.stats().failures == 0

    def test_a_batch_of_another_table_is_refused(self, plant):
        batch = plant.spool.append("main.plant.other", events(0, 1), schema_id=plant.schema_id)
        with pytest.raises(ValueError, match=r"main\.plant\.other"):
            plant.delivery.submit(batch)


class TestSize:
    def test_payloads_are_split_before_they_reach_the_clients_limit(self, server, plant_for):
        plant = plant_for(server, start=False)
        text = "x" * 3_000_000
        rows = EncodedRows.from_messages([event(number, text) for number in range(10)])
        plant.spool.append(TABLE, rows, schema_id=plant.schema_id)
        plant.number = 10
        plant.delivery.start()
        plant.landed_once()
        assert plant.stats().calls_sent == 5
        assert plant.stats().failures == 0

    def test_a_record_no_call_can_carry_is_set_aside_and_the_others_flow(
        self, server, plant_for, caplog
    ):
        plant = plant_for(server, start=False)
        rows = [event(0), event(1, "x" * MAX_CALL_BYTES), event(2)]
        plant.spool.append(TABLE, EncodedRows.from_messages(rows), schema_id=plant.schema_id)
        plant.delivery.start()
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [0, 2]
        assert plant.stats().rows_set_aside == 1
        assert plant.spool.stats().dead_letters == 1
        assert "row 1 of batch 1: the record has 10420" in caplog.text


class TestFailures:
    @pytest.mark.parametrize(
        "code", ["UNAVAILABLE", "INTERNAL", "CANCELLED", "RESOURCE_EXHAUSTED", "DATA_LOSS"]
    )
    @pytest.mark.parametrize("abrupt", [False, True])
    def test_a_stream_that_breaks_is_opened_again_and_nothing_is_lost(
        self, server, plant_for, code, abrupt
    ):
        server.faults.fail_stream(code, "gone", times=3, at_offset=2, abrupt=abrupt)
        options = DeliveryOptions(
            limits=CallLimits(max_records=50), retry=Backoff(0.01, 0.05), max_inflight=5
        )
        plant = plant_for(server, options=options)
        plant.add(batches=20)
        again = plant.landed_at_least_once()
        stats = plant.stats()
        assert stats.reconnects == 3
        # When the sending half notices first, the SDK does not tell a break from a rotation.
        assert stats.failures + stats.rotations == 3
        assert again <= 3 * 5 * 50

    def test_a_stream_that_always_fails_is_not_reopened_in_a_tight_loop(self, server, plant_for):
        server.faults.fail_stream("UNAVAILABLE", "not today", times=None)
        plant = plant_for(server, options=DeliveryOptions(retry=Backoff(0.05, 30.0)))
        plant.add()
        wait_until(lambda: plant.stats().failures >= 4)
        # The SDK's own recovery does about 1,500 in a second, in one that does not fail.
        opened = server.counters().streams_opened
        stats = plant.wait_for(StreamState.BACKING_OFF)
        assert opened <= stats.failures
        assert "not today" in stats.cause
        server.faults.clear()
        plant.landed_once()
        assert plant.stats().cause is None

    def test_the_sdks_tight_reconnect_loop_is_broken_by_the_watchdog(self, server, plant_for):
        server.faults.fail_stream("UNAVAILABLE", "not today", times=None)
        plant = plant_for(
            server,
            options=DeliveryOptions(ack_timeout=0.6, retry=Backoff(600.0, 600.0)),
            stream=StreamOptions(recovery=True, flush_timeout=0.2),
        )
        plant.add()
        stats = plant.wait_for(StreamState.BACKING_OFF)
        assert server.counters().streams_opened > 20
        assert stats.failures == 1
        assert "no acknowledgement" in stats.cause

        def is_over():
            before, quiet = server.counters().streams_opened, time.monotonic() + 0.5
            wait_until(lambda: time.monotonic() > quiet)
            return server.counters().streams_opened == before

        wait_until(is_over, what="the end of the loop")
        assert plant.stats().state is StreamState.BACKING_OFF
        assert plant.spool.pending_rows(TABLE) == 100

    def test_a_server_that_never_acknowledges_is_left_by_the_watchdog(self, server, plant_for):
        server.faults.acks.drop()
        plant = plant_for(server, options=DeliveryOptions(ack_timeout=0.3, retry=QUICK.retry))
        plant.add()
        wait_until(lambda: plant.stats().failures >= 2)
        assert plant.stats().cause_kind is FailureKind.RETRIABLE
        server.faults.clear()
        plant.landed_at_least_once()

    def test_stream_rotation_is_a_normal_event(self, server, plant_for):
        plant = plant_for(server)
        plant.wait_for(StreamState.OPENED)
        for _ in range(3):
            # A stream that ends before it ever acknowledged anything is a failure.
            plant.add(10)
            wait_until(lambda: plant.stats().last_acked_offset >= 0)
            before = plant.stats().generation
            server.faults.close_streams(0.05)
            wait_until(lambda before=before: plant.add(10) or plant.stats().generation > before)
        plant.landed_at_least_once()
        assert plant.stats().rotations == 3
        assert plant.stats().failures == 0

    def test_unauthenticated_in_mid_stream_recovers_with_a_new_token(self, server, plant_for):
        server.faults.fail_stream("UNAUTHENTICATED", "token expired", at_offset=1)
        plant = plant_for(server, options=DeliveryOptions(limits=CallLimits(max_records=50)))
        plant.add(batches=3)
        plant.landed_once()
        assert plant.stats().failures + plant.stats().rotations == 1
        assert server.counters().tokens_issued == 2

    def test_too_many_token_requests_back_off_and_recover(self, server, plant_for):
        server.faults.fail_oauth(429, times=3)
        plant = plant_for(server)
        plant.add()
        plant.landed_once()
        assert plant.stats().failures == 3

    def test_refused_credentials_block_visibly_and_heal_when_mended(
        self, server, plant_for, caplog
    ):
        caplog.set_level(logging.INFO)
        server.faults.fail_oauth(401, times=None)
        plant = plant_for(server)
        plant.add()
        assert plant.wait_for(StreamState.BLOCKED).cause_kind is FailureKind.AUTHENTICATION
        server.faults.clear()
        plant.landed_once()
        assert plant.stats().state is StreamState.OPENED
        assert "works again" in caplog.text
        assert SECRET not in caplog.text

    def test_many_reconnects_in_a_minute_slow_down_even_with_progress(self, server, plant_for):
        server.faults.fail_stream("UNAVAILABLE", "flapping", times=None, at_offset=1)
        plant = plant_for(
            server,
            options=DeliveryOptions(
                limits=CallLimits(max_records=1),
                retry=Backoff(0.001, 600.0),
                max_reconnects=5,
            ),
        )
        plant.add(rows=200)
        wait_until(lambda: plant.stats().failures == 5)
        plant.wait_for(StreamState.BACKING_OFF)
        quiet = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > quiet)
        assert server.counters().streams_opened == 5

    def test_the_same_trouble_is_not_logged_again_and_again(self, server, plant_for, caplog):
        server.faults.fail_creation("UNAVAILABLE", "down", times=None)
        plant = plant_for(server, options=DeliveryOptions(retry=Backoff(0.01, 0.01)))
        wait_until(lambda: plant.stats().failures >= 10)
        told = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert len(told) == 1
        assert told[0].table == TABLE
        assert told[0].stream_state == "BACKING_OFF"
        assert "rows stay spooled" in told[0].getMessage()


class TestStopping:
    def test_stop_closes_the_stream_and_keeps_what_was_not_acknowledged(self, server, plant_for):
        server.faults.acks.drop()
        plant = plant_for(server)
        plant.add(batches=2)
        wait_until(lambda: plant.stats().inflight_rows == 200)
        assert plant.delivery.stop(PATIENCE)
        assert plant.stats().state is StreamState.CLOSED
        assert plant.spool.pending_rows(TABLE) == 200
        wait_until(lambda: server.counters().streams_open == 0)

    def test_draining_and_stopping_are_bounded_while_zerobus_is_unreachable(
        self, server, plant_for
    ):
        server.stop()
        plant = plant_for(server)
        plant.add()
        started = time.monotonic()
        assert plant.delivery.drain(0.2) == 100
        plant.delivery.stop(3)
        assert time.monotonic() - started < PROMPT

    def test_stopping_before_the_start_is_fine(self, server, plant_for):
        assert plant_for(server, start=False).delivery.stop(PATIENCE)


class TestCrashes:
    def test_a_server_killed_again_and_again_loses_nothing(self, tmp_path, plant_for):
        with ServerProcess.running(tmp_path / "tables") as server:
            plant = plant_for(server)
            for _ in range(3):
                wait_until(lambda: plant.stats().state is StreamState.OPENED)
                acked = plant.stats().rows_acked
                plant.add(rows=500, batches=20)
                wait_until(lambda acked=acked: plant.stats().rows_acked > acked)
                server.kill()
                plant.add(rows=500, batches=5)
                server.start()
            plant.landed_at_least_once()
            assert plant.stats().failures >= 3


class TestPaused:
    def test_rows_wait_while_delivery_pauses_and_go_when_it_goes_on(self, plant):
        plant.wait_for(StreamState.OPENED)
        plant.delivery.pause(3600.0, "on-call", "migration")
        plant.add(batches=3)
        assert plant.delivery.drain(PATIENCE) == 300  # there is nothing to wait for
        assert (plant.stats().state, plant.stats().rows_sent) == (StreamState.OPENED, 0)
        told = plant.delivery.paused
        assert (told.table, told.by, told.why) == (TABLE, "on-call", "migration")
        plant.delivery.resume()
        assert plant.delivery.paused is None
        plant.landed_once()

    def test_a_pause_ends_by_itself(self, plant):
        plant.wait_for(StreamState.OPENED)
        plant.delivery.pause(0.2, "on-call", "")
        plant.add()
        wait_until(lambda: plant.stats().rows_acked == 100)
        assert plant.delivery.paused is None

    def test_what_is_in_flight_when_it_begins_is_acknowledged(self, server, plant_for):
        plant = plant_for(server, options=replace(QUICK, max_delay=3600.0))
        plant.wait_for(StreamState.OPENED)
        plant.add()
        wait_until(lambda: plant.stats().rows_sent == 100)
        plant.delivery.pause(3600.0, "on-call", "")
        wait_until(lambda: plant.stats().rows_acked == 100)

    def test_a_stop_during_a_pause_sends_nothing_and_is_quick(self, plant):
        plant.wait_for(StreamState.OPENED)
        plant.delivery.pause(3600.0, "on-call", "")
        plant.add()
        assert plant.delivery.drain(PATIENCE) == 100
        assert plant.delivery.stop(PATIENCE)
        assert plant.spool.pending_rows(TABLE) == 100


def test_whoever_waits_for_acknowledgements_with_all_that_may_be_on_its_way_waits_still(
    server, plant_for
):
    options = replace(QUICK, max_inflight_bytes=64 << 10, max_delay=0.01)
    plant = plant_for(server, options=options, start=False)
    server.faults.delay_acks(PATIENCE)
    plant.add(rows=1_000, batches=10)
    plant.delivery.start()
    wait_until(lambda: plant.stats().inflight_rows)
    [stream] = plant.delivery.streams
    looked, load = [], stream._load
    stream._load = lambda: looked.append(load())
    time.sleep(0.5)
    assert plant.stats().inflight_rows  # and rows wait behind these
    assert plant.stats().rows_sent < 10_000
    assert len(looked) < 50
    server.faults.clear()
