"""What is published on the own STATE topic, as a subscriber of a real server counts it."""

from __future__ import annotations

import contextlib
import json

import pytest
from support.mqtt_listener import listening
from support.scripted_server import scripted
from support.services import mosquitto, wait_until

from consumer.broker import BatchLimits, BrokerConnection, Inbox, OwnState
from consumer.config import Server
from consumer.errors import SpoolDiskFull
from sparkplug import EventKind, OwnTimestamps

STATE = "spBv1.0/STATE/historian"
MARK = "spBv1.0/G/NDATA/mark"


class Kept(dict):
    """A memory that lives as long as the test."""

    set = dict.__setitem__


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def listener(server):
    """A client of the server; no STATE is kept there when the test begins."""
    with listening(server) as client:
        client.publish(STATE, b"", retain=True)
        begin(client)
        yield client


def begin(client):
    """From here on only what comes later counts; returns when all before has come."""
    client.first = len(client.arrivals)
    client.publish(MARK, b"")
    wait_until(lambda: MARK in topics_of(client), what="the mark")
    client.first = len(client.arrivals)


def topics_of(client):
    return [each.topic for each in client.arrivals[client.first :]]


def said(client):
    """Every STATE message since `begin`, in full: (online, timestamp) or the bytes."""
    found = []
    for each in client.arrivals[client.first :]:
        if each.topic == STATE and not each.retained:
            try:
                state = json.loads(each.payload)
                found.append((state["online"], state["timestamp"]))
            except (ValueError, KeyError):
                found.append(each.payload)
    return found


@contextlib.contextmanager
def connected(server, memory, own=None, client_id=""):
    inbox = Inbox(1 << 20, BatchLimits(1_000, 1 << 20, 0.01), lambda: 0.0)
    connection = BrokerConnection(
        0,
        Server(name="plant", url=server.url, client_id=client_id),
        host_id="historian",
        inbox=inbox,
        memory=memory,
        count_refused=lambda _reason, _messages: None,
        own_births=own,
    )
    connection.start()
    try:
        wait_until(connection.connected.is_set, what="a connection")
        yield connection
    finally:
        connection.request_stop()
        connection.join(30.0)


def settle(client, connection):
    """The host has read all that it was told so far, and what it published for that has come.

    It reads a mark behind it, and then publishes a request behind its answers.
    """
    begun, first = connection._received, len(client.arrivals)
    client.publish(MARK, b"")
    # The subscription of the host comes with other messages than the mark, too.
    wait_until(lambda: connection._received > begun, what="the host reads")
    assert connection.request_rebirth("G", "mark")
    wait_until(lambda: any("NCMD" in each.topic for each in client.arrivals[first:]), what="NCMD")


@pytest.mark.parametrize(
    "kept",
    [b'{"online":false,"timestamp":5}', b"OFFLINE", b'{"online":false}', b""],
    ids=["offline", "text", "no time", "nothing"],
)
def test_a_start_says_online_exactly_once_whatever_the_server_kept(server, listener, kept):
    listener.publish(STATE, kept, retain=True)
    begin(listener)
    with connected(server, Kept()) as connection:
        settle(listener, connection)
        assert [online for online, _ in said(listener)] == [True]
        assert (connection.own_state.answers, connection.connections) == (0, 1)


def test_a_restart_over_the_own_will_says_online_exactly_once(server, listener):
    memory = Kept()
    with connected(server, memory) as connection:
        settle(listener, connection)
        born = said(listener)[0][1]
    wait_until(lambda: len(said(listener)) == 2, what="offline")
    begin(listener)
    with connected(server, memory) as connection:
        settle(listener, connection)
        [(online, again)] = said(listener)
        assert (online, again > born) == (True, True)
        assert connection.own_state.foreign_births == 0


def test_a_restart_over_the_own_birth_is_no_alarm(server, listener):
    # The server was killed together with the host: no will was published.
    memory = Kept()
    with connected(server, memory) as connection:
        settle(listener, connection)
        [(_, born)] = said(listener)
    listener.publish(STATE, b'{"online":true,"timestamp":%d}' % born, retain=True)
    begin(listener)
    with connected(server, memory) as connection:
        settle(listener, connection)
        assert [online for online, _ in said(listener)] == [True]
        assert connection.own_state.foreign_births == 0


def test_what_others_write_there_is_answered_once_and_not_again_at_once(server, listener):
    with connected(server, Kept()) as connection:
        settle(listener, connection)
        [(_, born)] = said(listener)
        begin(listener)
        for payload in (b"", b"OFFLINE", b'{"online":false,"timestamp":5}', b'{"online":false}'):
            listener.publish(STATE, payload, retain=True)
            settle(listener, connection)
        assert [each for each in said(listener) if each == (True, born)] == [(True, born)]
        assert connection.own_state.answers == 1


def test_another_host_of_the_same_id_is_an_alarm_on_both_sides_and_no_war(server, listener, caplog):
    with connected(server, Kept()) as one:
        settle(listener, one)
        with connected(server, Kept()) as two:
            settle(listener, one)
            settle(listener, two)
            assert [online for online, _ in said(listener)] == [True, True]
            assert (one.connections, two.connections) == (1, 1)
            assert one.own_state.foreign_births == 1
            assert two.own_state.foreign_births == 1
            [live] = one.own_state.take_events()
            [kept] = two.own_state.take_events()
            assert (live.kind, live.reason) == (EventKind.DUPLICATE_HOST, "live")
            assert (kept.kind, kept.reason) == (EventKind.DUPLICATE_HOST, "kept")
            assert one.own_state.take_events() == []
            assert "another host application with the id historian says" in caplog.text
        # It leaves, and says so: that is answered, with a time that edge nodes believe.
        wait_until(lambda: one.connections == 2, what="a new connection")
        settle(listener, one)
        newest = max(timestamp for _, timestamp in said(listener))
        assert said(listener)[-1] == (True, newest)


CONNACK = bytes.fromhex("20 03 00 00 00")
SUBACK = bytes.fromhex("90 07 00 01 00 01 01 01 00")
PUBACK = bytes.fromhex("40 02 00 02")


def test_two_hosts_of_one_client_id_do_not_throw_each_other_out_without_pause(
    server, listener, caplog
):
    """As two consumers do that were started with copies of one spool."""
    with connected(server, Kept(), client_id="one"), connected(server, Kept(), client_id="one"):
        wait_until(lambda: "has this client id, too (one)" in caplog.text, what="the warning")
        # A birth of each, then one after each was thrown out for the first time.
        assert len([online for online, _ in said(listener) if online]) <= 4


def publish(payload, *, retained=False):
    """PUBLISH with QoS 0 on the own STATE topic, in MQTT 5."""
    content = len(STATE).to_bytes(2, "big") + STATE.encode() + b"\0" + payload
    return bytes([0x31 if retained else 0x30, len(content)]) + content


@pytest.mark.parametrize(
    ("last", "answers"),
    [(publish(b""), 1), (publish(b"OFFLINE", retained=True), 0)],
    ids=["and a message", "nothing else"],
)
def test_what_a_server_kept_and_delivers_after_our_birth_is_not_answered(last, answers):
    # Some servers look up what they keep when they have time for it.
    kept = publish(b'{"online":false,"timestamp":5}', retained=True)
    with scripted(CONNACK, SUBACK, PUBACK + kept + kept + last, stay=False) as port:
        inbox = Inbox(1 << 20, BatchLimits(1_000, 1 << 20, 0.01), lambda: 0.0)
        connection = BrokerConnection(
            0,
            Server(name="plant", url=f"mqtt://127.0.0.1:{port}"),
            host_id="historian",
            inbox=inbox,
            memory=Kept(),
            count_refused=lambda _reason, _messages: None,
        )
        connection.start()
        try:
            wait_until(lambda: connection._received == 3, what="all that was kept")
            assert connection.own_state.answers == answers
        finally:
            connection.request_stop()
            connection.join(30.0)


def test_births_of_one_consumer_at_two_servers_that_a_bridge_connects_are_its_own():
    own, memory = OwnTimestamps(), Kept()
    at_one, at_two = (OwnState("historian", name, memory, own) for name in ("one", "two"))
    for state in (at_one, at_two):
        state.will()
    assert at_two.received(at_one.birth().payload, retained=False) is None
    assert at_one.received(at_two.birth().payload, retained=True) is None
    assert (at_one.foreign_births, at_two.foreign_births) == (0, 0)


def test_a_stream_of_foreign_births_is_told_once_a_minute(caplog):
    clock = [0.0]
    state = OwnState("historian", "plant", Kept(), OwnTimestamps(), clock=lambda: clock[0])
    state.will()
    state.birth()
    for second in range(150):
        clock[0] = float(second)
        assert state.received(b'{"online":true,"timestamp":%d}' % second, retained=False) is None
    assert state.foreign_births == 150
    told = [each for each in caplog.records if each.name == "consumer.broker.own_state"]
    assert len(told) == len(state.take_events()) == 3


def test_a_passive_host_says_and_hears_nothing():
    state = OwnState(None, "plant", Kept(), OwnTimestamps())
    assert state.will() is state.birth() is state.stop() is state.due() is None
    assert state.received(b"", retained=False) is None
    assert not state.must_renew()


def test_a_timestamp_that_found_no_room_is_remembered_when_there_is_some():
    class Full(dict):
        tries = 0
        is_full = True

        def set(self, key, value):
            self.tries += 1
            if self.is_full:
                raise SpoolDiskFull("no room on the disk")
            self[key] = value

    clock, memory = [0.0], Full()
    state = OwnState("historian", "plant", memory, OwnTimestamps(), clock=lambda: clock[0])
    state.will()
    for _ in range(100):
        state.due()
    assert memory.tries <= 2  # a full disk is not asked again and again
    memory.is_full = False
    clock[0] += 5.0
    state.due()
    assert memory["state_timestamp/plant"] > 0
