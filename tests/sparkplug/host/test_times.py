"""Which time an observation has: docs/decoding.md, "Time and quality"."""

import pytest
from oracle.messages import metric
from support.columnar import Columnar, message

from sparkplug.datatypes import DataType

RECEIVED_US = 1_700_000_100_000_123
SENT_MS = 1_700_000_050_000
MEASURED_MS = 1_700_000_000_000
LAST_MS = 253_402_300_799_999  # of the year 9999


def row_of(measured, sent):
    seen = Columnar()
    ramp = metric("Ramp", DataType.Double, timestamp=measured, double_value=1.0)
    (row,) = seen.feed(message("NBIRTH", ramp, timestamp=sent, received_us=RECEIVED_US))
    return row, seen.counts


@pytest.mark.parametrize(
    ("measured", "sent", "expected"),
    [
        (MEASURED_MS, SENT_MS, MEASURED_MS * 1000),
        (MEASURED_MS, None, MEASURED_MS * 1000),
        (None, SENT_MS, SENT_MS * 1000),
        (None, None, RECEIVED_US),
        (0, SENT_MS, 0),
        (None, 0, 0),
        (LAST_MS, SENT_MS, LAST_MS * 1000),
    ],
)
def test_the_metrics_time_goes_before_the_payloads_and_that_before_the_arrival(
    measured, sent, expected
):
    row, counts = row_of(measured, sent)
    assert row["event_time"] == expected
    assert row["payload_timestamp"] == (None if sent is None else sent * 1000)
    assert row["ingestion_timestamp"] == RECEIVED_US
    assert not counts


@pytest.mark.parametrize("beyond", [LAST_MS + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_time_after_the_year_9999_is_no_time_and_is_counted(beyond):
    row, counts = row_of(beyond, SENT_MS)
    assert row["event_time"] == SENT_MS * 1000
    assert counts == {"timestamp_out_of_range": 1}
    row, counts = row_of(MEASURED_MS, beyond)
    assert (row["event_time"], row["payload_timestamp"]) == (MEASURED_MS * 1000, None)
    assert counts == {"timestamp_out_of_range": 1}
    row, counts = row_of(beyond, beyond)
    assert row["event_time"] == RECEIVED_US
    assert counts == {"timestamp_out_of_range": 2}


def test_each_metric_of_a_message_has_its_own_time():
    metrics = [
        metric(f"T{n}", DataType.Double, timestamp=time, double_value=1.0)
        for n, time in enumerate((5, None, 3, LAST_MS + 1))
    ]
    rows = Columnar().feed(message("NBIRTH", *metrics, timestamp=4))
    assert [row["event_time"] for row in rows] == [5000, 4000, 3000, 4000]


def test_times_of_a_message_that_is_not_read_are_not_judged():
    seen = Columnar()
    assert not seen.feed(message("NDATA", metric("T", timestamp=2**63), timestamp=2**63, seq=1))
    assert seen.counts == {"data_before_birth": 1}


def test_history_is_marked_and_keeps_its_time():
    seen = Columnar()
    rows = seen.feed(
        message("NBIRTH", metric("T", DataType.Double, alias=0, double_value=1.0)),
        message(
            "NDATA",
            metric(alias=0, timestamp=7, double_value=2.0, is_historical=True),
            metric(alias=0, timestamp=9, double_value=3.0, is_historical=False),
            seq=1,
        ),
    )
    assert [(row["is_historical"], row["event_time"]) for row in rows[1:]] == [
        (True, 7000),
        (False, 9000),
    ]
