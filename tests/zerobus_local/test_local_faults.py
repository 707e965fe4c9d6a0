"""Faults on request: what the real SDK makes of each of them."""

import json
import math
import time
import urllib.request

import grpc
import pytest
from support.local_rig import READING, until
from support.services import PATIENCE
from zerobus.sdk.sync import NonRetriableException, ZerobusException

from zerobus_local import FaultError, Faults, LocalZerobusError, Ports


def ids(rows):
    return [row["id"] for row in rows()]


def test_a_creation_that_fails_once_is_tried_again(server, client):
    server.faults.fail_creation("UNAVAILABLE", "not now")
    client.stream()
    counters = server.counters()
    assert (counters.streams_refused, counters.streams_opened) == (1, 1)


def test_a_creation_that_always_fails_gives_up(server, client):
    server.faults.fail_creation(grpc.StatusCode.INTERNAL, "broken", times=None)
    with pytest.raises(ZerobusException, match="broken"):
        client.stream(recovery_retries=2)
    assert server.counters().streams_refused == 3
    server.faults.clear()
    client.stream()


def test_a_permanent_status_is_not_tried_again(server, client):
    server.faults.fail_creation("PERMISSION_DENIED", "no MODIFY on the table", times=None)
    with pytest.raises(NonRetriableException, match="no MODIFY on the table"):
        client.stream()


def test_a_stream_that_fails_at_an_offset_has_acknowledged_what_came_before(server, client, rows):
    server.faults.fail_stream("INVALID_ARGUMENT", "poison", at_offset=3)
    stream = client.stream()
    for n in range(6):
        stream.ingest_record_offset(READING(n))
    with pytest.raises(ZerobusException, match="poison"):
        stream.flush()
    assert ids(rows) == ["0", "1", "2"]
    assert list(stream.get_unacked_records()) == [READING(n) for n in (3, 4, 5)]


def test_a_stream_that_is_interrupted_goes_on_without_loss_or_duplicate(server, client, rows):
    server.faults.fail_stream("UNAVAILABLE", "moved", at_offset=2, times=2)
    stream = client.stream()
    for n in range(10):
        assert stream.ingest_record_offset(READING(n)) == n
    stream.flush()
    assert ids(rows) == [str(n) for n in range(10)]
    assert server.counters().streams_opened == 3


def test_a_stream_that_breaks_off_makes_duplicates(server, client, rows):
    """At least once: what landed without acknowledgement is sent again."""
    server.faults.delay_commits(math.inf)
    server.faults.fail_stream("UNAVAILABLE", at_offset=1, abrupt=True)
    stream = client.stream()
    stream.ingest_record_offset(READING("a"))
    assert until(lambda: server.counters().requests_received == 1)
    stream.ingest_record_offset(READING("b"))
    assert until(lambda: server.counters().streams_opened == 2)
    server.faults.clear()
    stream.flush()
    assert ids(rows) == ["a", "a", "b"]


def test_acknowledgements_kept_back_stay_due(server, client, rows):
    server.faults.acks.drop()
    stream = client.stream(flush_timeout_ms=400)
    stream.ingest_record_offset(READING("a"))
    with pytest.raises(ZerobusException, match="timed out"):
        stream.flush()
    assert until(lambda: server.counters().records_committed == 1)
    assert ids(rows) == ["a"]
    assert server.counters().acks_sent == 0
    server.faults.clear()
    stream.ingest_record_offset(READING("b"))
    assert until(lambda: server.counters().acks_sent == 1)
    stream.flush()
    assert ids(rows) == ["a", "b"]


def test_a_lost_acknowledgement_makes_the_client_send_again(server, client, rows):
    server.faults.acks.drop(times=1)
    stream = client.stream(server_lack_of_ack_timeout_ms=300)
    stream.ingest_record_offset(READING("a"))
    stream.flush()
    # Twice; more often where the next acknowledgement came too late for the client, too.
    assert set(ids(rows)) == {"a"}
    assert 2 <= len(ids(rows)) <= server.counters().streams_opened


def test_delays_hold_acknowledgements_and_creations(server, client):
    server.faults.delay_acks(0.3)
    stream = client.stream()
    start = time.monotonic()
    stream.wait_for_offset(stream.ingest_record_offset(READING("a")))
    assert time.monotonic() - start >= 0.3
    server.faults.delay_creation(0.3)
    start = time.monotonic()
    client.stream()
    assert time.monotonic() - start >= 0.3


def test_clearing_ends_a_delay(server, client):
    server.faults.delay_acks(math.inf)
    stream = client.stream()
    offset = stream.ingest_record_offset(READING("a"))
    assert until(lambda: server.counters().records_committed == 1)
    assert server.counters().acks_sent == 0
    server.faults.clear()
    stream.wait_for_offset(offset)


def test_a_close_signal_moves_the_client_to_a_new_stream(server, client, rows):
    server.faults.close_streams(PATIENCE, at_offset=4)
    stream = client.stream()
    for n in range(20):
        stream.ingest_record_offset(READING(n))
    stream.flush()
    assert until(lambda: server.counters().streams_opened == 2)
    assert until(lambda: server.counters().streams_open == 1)
    assert ids(rows) == [str(n) for n in range(20)]


def test_a_client_that_ignores_the_close_signal_is_closed(server, client):
    server.faults.close_streams(0.2)
    stream = client.stream(recovery=False)
    stream.ingest_record_offset(READING("a"))
    assert until(lambda: server.counters().streams_open == 0)


def test_a_fault_may_be_told_over_http_on_loopback(make_server, make_client):
    server = make_server(ports=Ports(expose_faults=True))
    url = f"{server.workspace_url}/faults"

    def send(method, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status

    assert send("POST", {"fail_creation": {"code": "NOT_FOUND", "text": "gone", "times": 1}}) == 200
    client = make_client(server)
    with pytest.raises(NonRetriableException, match="gone"):
        client.stream()
    send("POST", {"delay_creation": {"seconds": 60}})
    send("DELETE")
    client.stream()
    for wrong in ({"no_such": {}}, {"fail_creation": {"code": "ODD"}}, {"clear": {}}, [], "x"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            send("POST", wrong)
    nested = urllib.request.Request(url, data=b"[" * 60_000, method="POST")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(nested, timeout=PATIENCE)


def test_faults_of_acknowledgements_are_told_by_names_of_their_own():
    faults = Faults()
    faults.apply({"drop_acks": {"times": 1}, "acknowledge_beyond": {"by": 5}})
    assert [faults.due.ack_dropped(), faults.due.ack_dropped()] == [True, False]
    assert faults.due.said_of(3, 2) == 8
    faults.apply({"repeat_acks": {}})
    assert faults.due.said_of(3, 2) == 2
    faults.apply({"empty_acks": {}})
    assert faults.due.said_of(3, 2) is None


def test_faults_are_not_exposed_unless_asked_for_nor_beyond_loopback(server):
    request = urllib.request.Request(f"{server.workspace_url}/faults", data=b"{}")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request, timeout=PATIENCE)
    with pytest.raises(LocalZerobusError, match="loopback"):
        Ports(http_address="0.0.0.0:0", expose_faults=True)


def test_a_fault_shows_as_often_as_asked():
    faults = Faults()
    faults.reject_tokens(times=2)
    assert [faults.due.token_rejected() for _ in range(3)] == [True, True, False]
    faults.reject_tokens(times=None)
    assert all(faults.due.token_rejected() for _ in range(10))
    faults.clear()
    assert not faults.due.token_rejected()


@pytest.mark.parametrize("times", [0, -1, "2", 1.5])
def test_a_fault_needs_a_count(times):
    with pytest.raises(FaultError, match="not a count"):
        Faults().acks.drop(times=times)


def test_a_stream_that_has_lived_long_enough_ends_with_error_6002(server, client, rows):
    server.faults.time_out_streams(0.05)
    stream = client.stream(recovery=False)
    stream.wait_for_offset(stream.ingest_record_offset(READING("a")))
    assert until(lambda: server.counters().streams_open == 0)
    server.faults.acks.drop()
    server.faults.time_out_streams(0.05)
    stream = client.stream(recovery=False)
    stream.ingest_record_offset(READING("b"))
    with pytest.raises(ZerobusException, match=r"Stream timeout reached.*Error Code: 6002"):
        stream.flush()
    assert ids(rows) == ["a", "b"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda faults: faults.acks.go_beyond(5), "Invalid durability ACK offset 5"),
        (lambda faults: faults.acks.empty(), "Missing ack offset"),
        (lambda faults: faults.fail_stream("OK"), "closed by server without errors"),
    ],
)
def test_acknowledgements_that_make_no_sense_and_ends_without_error(server, client, fault, words):
    fault(server.faults)
    stream = client.stream(recovery=False)
    stream.ingest_record_offset(READING("a"))
    with pytest.raises(ZerobusException, match=words):
        stream.flush()


def test_repeated_acknowledgements_acknowledge_nothing(server, client):
    server.faults.acks.repeat()
    stream = client.stream(flush_timeout_ms=300)
    stream.ingest_record_offset(READING("a"))
    assert until(lambda: server.counters().acks_sent == 1)
    with pytest.raises(ZerobusException, match="timed out"):
        stream.flush()


def test_a_stream_that_always_has_something_to_acknowledge_is_closed_all_the_same(server, client):
    # Slower to acknowledge than more is committed, as on a machine with too much to do.
    server.faults.delay_acks(0.1)
    server.faults.close_streams(0.2)
    stream = client.stream(recovery=False, max_inflight_records=100_000)
    deadline = time.monotonic() + 20

    def refused():
        try:
            stream.ingest_record_offset(READING("a"))
        except ZerobusException:
            return True
        return time.monotonic() > deadline

    assert until(refused)
    assert time.monotonic() < deadline
