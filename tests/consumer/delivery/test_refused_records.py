"""Records that Zerobus refuses: each is found and kept, and all others land.

Real SDK, real server, real Delta tables. Every test ends with what landed.
"""

import math
import time
from dataclasses import replace

import pyarrow as pa
import pytest
from support.delivering import QUICK, QUICK_STREAM
from support.services import PATIENCE, PROMPT, wait_until
from support.tag_events import DESCRIPTOR, TABLE, events, landed

from consumer.delivery.blame import TableBlame
from consumer.delivery.stats import StreamState
from consumer.errors import FailureKind, SinkFailure
from consumer.log_budget import LogBudget
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.usefixtures("few_authorities")

FOREVER = replace(QUICK, lone_refusal=1_000.0)


class TestFound:
    def test_a_poison_record_is_found_and_kept_and_the_others_flow_on_in_order(
        self, server, plant_for, caplog
    ):
        plant = plant_for(server, start=False)
        plant.add(batches=3)
        plant.add_poison(rows=70, at=41)
        plant.add(batches=3)
        plant.delivery.start()
        plant.add(batches=3)
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [each for each in range(970) if each != 341]
        assert plant.stats().rows_set_aside == 1
        assert plant.stats().poison_probes < 25
        assert plant.stats().state is StreamState.OPENED
        [(batch_id, row, reason, error)] = plant.dead_letters()
        assert (batch_id, row, reason) == (4, 41, "poison")
        assert error
        assert "row 41 of batch 4 is refused" in caplog.text

    @pytest.mark.parametrize("at", [0, 1, 68, 69])
    def test_poison_at_the_edges_of_a_batch_is_found(self, server, plant_for, at):
        plant = plant_for(server)
        plant.add_poison(rows=70, at=at)
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [each for each in range(70) if each != at]
        assert [row for _, row, _, _ in plant.dead_letters()] == [at]

    def test_poison_in_every_second_batch_costs_only_itself(self, server, plant_for):
        plant = plant_for(server, start=False)
        for _ in range(6):
            plant.add_poison(rows=50, at=7)
            plant.add(50)
        plant.delivery.start()
        assert plant.delivery.drain(PATIENCE) == 0
        poison = {100 * n + 7 for n in range(6)}
        assert landed(plant.data_dir) == sorted(set(range(600)) - poison)
        assert len(plant.dead_letters()) == 6

    def test_poison_side_by_side_is_found_record_by_record(self, server, plant_for):
        plant = plant_for(server)
        plant.add_poison(rows=60, at=20, count=5)
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [*range(20), *range(25, 60)]
        assert [row for _, row, _, _ in plant.dead_letters()] == [20, 21, 22, 23, 24]

    def test_the_last_record_of_all_may_be_the_poison(self, server, plant_for):
        plant = plant_for(server)
        plant.add_poison(rows=1, at=0)
        assert plant.delivery.drain(PATIENCE) == 0
        assert len(plant.dead_letters()) == 1

    def test_when_every_record_is_refused_it_is_the_table_and_none_is_given_up(
        self, server, plant_for
    ):
        text = "Record decoder/encoder error: bad. Error Code: 4044, Error State: 3."
        server.faults.fail_stream("INVALID_ARGUMENT", text, times=None)
        plant = plant_for(server)
        plant.add(batches=2)
        stats = plant.wait_for(StreamState.BLOCKED)
        assert stats.cause_kind is FailureKind.CONTRACT
        assert "Error Code: 4044" in stats.cause
        assert "100 records" in stats.cause
        plant.add(batches=2)
        assert plant.spool.pending_rows(TABLE) == 400
        assert plant.dead_letters() == []
        server.faults.clear()
        plant.landed_once()
        assert plant.dead_letters() == []

    def test_a_table_that_does_not_fit_blocks_and_says_which_column(self, tmp_path, plant_for):
        (tmp_path / "tables").mkdir()
        server = LocalZerobus(tmp_path / "tables", commit_interval=0.02)
        server.create_table(
            TABLE, pa.schema([each for each in TAG_EVENTS_SCHEMA if each.name != "seq"])
        )
        with server:
            plant = plant_for(server)
            plant.add()
            stats = plant.wait_for(StreamState.BLOCKED)
            assert stats.cause_kind is FailureKind.CONTRACT
            assert "seq" in stats.cause
            assert plant.delivery.stop(PATIENCE)
        assert plant.spool.pending_rows(TABLE) == 100

    def test_one_in_a_full_call_costs_about_ten_streams(self, server, plant_for):
        plant = plant_for(server, start=False)
        plant.add_poison(rows=1000, at=613)
        plant.add(batches=5)
        plant.delivery.start()
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [each for each in range(1500) if each != 613]
        assert plant.stats().poison_probes <= 11
        # One more for the search that ended well, and one for what was behind it.
        assert server.counters().streams_opened <= 13
        assert plant.stats().failures == 0

    def test_the_log_says_once_for_each_search_why_it_began(self, server, plant_for, caplog):
        plant = plant_for(server, options=replace(QUICK, log_budget=LogBudget()))
        for searches in (1, 2):
            plant.add_poison(rows=70, at=41)
            plant.add(10)
            assert plant.delivery.drain(PATIENCE) == 0
            begun = [each for each in caplog.messages if "is refused, and searched: " in each]
            assert len(begun) == searches

    def test_it_says_so_too_when_the_stream_had_broken_for_another_reason(
        self, server, plant_for, caplog
    ):
        server.faults.fail_stream("UNAVAILABLE", "gone")
        plant = plant_for(server, options=replace(QUICK, log_budget=LogBudget()))
        plant.add_poison(rows=70, at=41)
        plant.add(10)
        assert plant.delivery.drain(PATIENCE) == 0
        assert len([each for each in caplog.messages if "and searched" in each]) == 1


class TestDecided:
    def test_a_refused_record_is_kept_when_one_behind_it_gets_through(self, server, plant_for):
        plant = plant_for(server, options=FOREVER)
        plant.add_poison(rows=1, at=0)
        wait_until(lambda: plant.stats().poison_probes and plant.stats().reconnects)
        assert plant.delivery.drain(0.2) == 1
        assert plant.dead_letters() == []
        plant.add(1)
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [1]
        assert len(plant.dead_letters()) == 1

    def test_rows_of_another_schema_behind_it_do_not_wait_for_ever(self, server, plant_for):
        plant = plant_for(server)
        plant.add_poison(rows=1, at=0)
        other = plant.spool.schemas.register(DESCRIPTOR + b"\x1a\x00")  # an import, else the same
        plant.delivery.submit(plant.spool.append(TABLE, events(1, 11), schema_id=other))
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == list(range(1, 11))
        assert len(plant.dead_letters()) == 1


class TestInTheMiddle:
    """What happens while a refused record is searched."""

    @pytest.fixture
    def searching(self, server, plant_for):
        """A delivery whose search waits for the acknowledgement of its first call."""

        def make(**options):
            plant = plant_for(
                server,
                start=False,
                options=replace(QUICK, **options),
                stream=replace(QUICK_STREAM, ack_timeout=1_000.0),  # of the SDK
            )
            server.faults.delay_acks(math.inf)
            plant.add_poison(rows=64, at=40)
            plant.delivery.start()
            wait_until(lambda: plant.stats().poison_probes and plant.stats().inflight_calls)
            assert plant.stats().inflight_rows == 32
            return plant

        return make

    def test_new_rows_wait_and_one_call_is_on_its_way(self, server, searching):
        plant = searching()
        plant.add(100, batches=3)
        assert (plant.stats().inflight_calls, plant.stats().inflight_rows) == (1, 32)
        server.faults.clear()
        assert plant.delivery.drain(PATIENCE) == 0
        assert landed(plant.data_dir) == [each for each in range(364) if each != 40]
        assert len(plant.dead_letters()) == 1

    def test_a_stop_ends_it_and_keeps_all_in_the_spool(self, server, searching):
        plant = searching(ack_timeout=1_000.0)
        assert plant.delivery.stop(PROMPT)
        assert plant.stats().state is StreamState.CLOSED
        assert plant.spool.pending_rows(TABLE) == 64
        assert plant.dead_letters() == []
        wait_until(lambda: server.counters().streams_open == 0)

    def test_a_short_stream_that_is_not_acknowledged_is_given_up_and_the_search_goes_on(
        self, server, searching
    ):
        plant = searching(ack_timeout=0.3)
        wait_until(lambda: plant.stats().failures)
        assert plant.stats().cause_kind is FailureKind.RETRIABLE
        assert "no acknowledgement for" in plant.stats().cause
        assert "with 1 calls in flight" in plant.stats().cause
        server.faults.clear()
        assert plant.delivery.drain(PATIENCE) == 0
        assert sorted(set(landed(plant.data_dir))) == [each for each in range(64) if each != 40]
        assert len(plant.dead_letters()) == 1
        assert plant.stats().poison_probes <= 7  # it is not begun again

    def test_a_service_that_goes_away_interrupts_it(self, server, searching):
        plant = searching(ack_timeout=0.3)
        server.faults.fail_creation("UNAVAILABLE", "away", times=3)
        wait_until(lambda: plant.stats().failures >= 4)
        server.faults.clear()
        assert plant.delivery.drain(PATIENCE) == 0
        assert sorted(set(landed(plant.data_dir))) == [each for each in range(64) if each != 40]
        assert len(plant.dead_letters()) == 1

    def test_what_has_to_be_mended_is_probed_with_a_handful(self, server, searching):
        plant = searching(ack_timeout=0.3)
        server.faults.fail_creation("NOT_FOUND", "no such table", times=1)
        wait_until(lambda: plant.stats().state is StreamState.PROBING)
        wait_until(lambda: plant.stats().inflight_rows == 10)
        server.faults.clear()
        assert plant.delivery.drain(PATIENCE) == 0
        assert sorted(set(landed(plant.data_dir))) == [each for each in range(64) if each != 40]
        assert len(plant.dead_letters()) == 1

    def test_while_delivery_pauses_no_stream_is_opened_for_it(self, server, searching):
        plant = searching(ack_timeout=0.3)
        plant.delivery.pause(3600.0, "on-call", "migration")
        wait_until(lambda: plant.stats().failures)  # its first call was not acknowledged
        server.faults.clear()
        wait_until(lambda: server.counters().streams_open == 0)
        before, begun = server.counters().streams_opened, time.monotonic()
        plant.delivery.pause(1.0, "on-call", "migration")
        wait_until(lambda: server.counters().streams_opened > before)
        assert time.monotonic() - begun >= 1.0
        assert plant.delivery.drain(PATIENCE) == 0
        assert sorted(set(landed(plant.data_dir))) == [each for each in range(64) if each != 40]
        assert len(plant.dead_letters()) == 1

    def test_while_delivery_pauses_nothing_is_sent_over_the_stream_that_is_open(
        self, server, searching
    ):
        plant = searching(ack_timeout=1_000.0)
        plant.delivery.pause(3600.0, "on-call", "migration")
        server.faults.clear()
        wait_until(lambda: plant.stats().rows_acked == 32)
        assert plant.delivery.drain(0.02) == 64  # a batch is settled as a whole
        assert plant.stats().rows_sent == 64 + 32  # all at first, and then the half
        assert plant.stats().inflight_calls == 0

    @pytest.mark.parametrize("is_open", [True, False])
    def test_a_stop_is_quick_also_while_delivery_pauses(self, server, searching, is_open):
        plant = searching(ack_timeout=1_000.0 if is_open else 0.3)
        plant.delivery.pause(3600.0, "on-call", "migration")
        if not is_open:
            wait_until(lambda: plant.stats().failures)
            wait_until(lambda: server.counters().streams_open == 0)
        assert plant.delivery.stop(PROMPT)
        assert plant.spool.pending_rows(TABLE) == 64
        assert plant.dead_letters() == []


def test_the_table_stays_to_blame_when_the_service_says_it_in_other_words():
    blame = TableBlame()
    blame.lay("no column a", DESCRIPTOR, [], in_a_row=3)
    assert blame.persists("no column a")
    assert not blame.persists("no column b")  # something new is looked into, once
    blame.lay("no column b", DESCRIPTOR, [], in_a_row=3)
    assert blame.persists("no column b")


def test_a_refusal_of_what_is_not_on_its_way_is_tried_again_and_blocks_nothing(plant):
    plant.add(10)
    wait_until(lambda: plant.stats().rows_acked == 10)
    [stream] = plant.delivery.streams
    assert not stream._fail(SinkFailure(FailureKind.POISON, "a record is refused"))
    assert stream.stats().cause_kind is FailureKind.RETRIABLE
