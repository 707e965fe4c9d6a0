"""Several servers in one capture, and what their header says, read as the consumer reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import MEASURED_MS, metric, payload
from support.captures import BEGUN_US, HEADER

from consumer.tap.capture_format import CapturedServer, Kind, Record
from consumer.tap.replaying import Replay, ReplaySettings
from sparkplug import Message

BIRTH = payload(metric("Level", 10, alias=1, double_value=0.5))


def data(number):
    measured = metric(alias=1, timestamp=MEASURED_MS + number, double_value=float(number))
    return payload(measured, seq=number)


def replayed(servers, records):
    """Rows, and what the replay came to, of (server, verb, payload)."""
    header = HEADER._replace(servers=tuple(servers))
    replay = Replay(ReplaySettings.of(header, None, None))
    given = [
        Record(server, Message(f"spBv1.0/G/{verb}/E", content, BEGUN_US + number))
        for number, (server, verb, content) in enumerate(records)
    ]
    rows = [row for batch in replay.rows(given) for row in batch.to_pylist()]
    return rows, replay.result


BOTH = [(0, "NBIRTH", BIRTH), (1, "NBIRTH", BIRTH), (0, "NDATA", data(1)), (1, "NDATA", data(1))]


def test_nodes_of_two_servers_are_read_apart_and_numbered_together():
    rows, result = replayed([CapturedServer("a", "North"), CapturedServer("b", "South")], BOTH)
    assert [row["arrival_number"] for row in rows] == [1, 2, 3, 4]
    assert len({row["event_id"] for row in rows}) == 4
    assert (result.messages, result.rows, result.waiting) == (4, 4, 0)


def test_what_two_servers_of_a_site_bring_has_the_same_ids():
    rows, _ = replayed([CapturedServer("a", "North"), CapturedServer("b", "North")], BOTH)
    assert len({row["event_id"] for row in rows}) == 2


@pytest.mark.parametrize("site", ["user:password@host", "-----BEGIN", "\0", "x" * 60_000])
def test_a_header_may_say_anything_of_a_site(site):
    rows, _ = replayed([CapturedServer("a", site)], BOTH[:1])
    assert len(rows) == 1


def test_what_cannot_be_read_is_counted():
    rows, result = replayed([CapturedServer("a")], [(0, "NBIRTH", b"\xff"), (0, "NDATA", data(1))])
    assert rows == []
    assert result.remarks["bad_payload"] == 1
    assert (result.waiting, result.unreadable) == (1, 1)


TIMES = st.sampled_from([0, BEGUN_US, 253_402_300_799_999_999]) | st.integers(0, 2**57)
RECORDS = st.builds(
    Record,
    st.integers(0, 1),
    st.builds(
        Message,
        st.sampled_from(["spBv1.0/G/NBIRTH/E", "spBv1.0/G/NDATA/E", "$sparkplug/certificates/x"])
        | st.text(max_size=20),
        st.sampled_from([BIRTH, data(1), data(2)]) | st.binary(max_size=50),
        TIMES,
        st.booleans(),
    ),
    st.sampled_from(Kind),
)


@given(records=st.lists(RECORDS, max_size=20))
def test_nothing_in_a_capture_ends_a_replay(records):
    servers = (CapturedServer("a", "North"), CapturedServer("b", "North"))
    replay = Replay(ReplaySettings.of(HEADER._replace(servers=servers), None, None))
    rows = sum(len(batch) for batch in replay.rows(records))
    assert rows == replay.result.rows
