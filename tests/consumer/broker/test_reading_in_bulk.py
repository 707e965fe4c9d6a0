"""A connection hands over what it reads in bulk, in order with all else, and never waits."""

from __future__ import annotations

import contextlib

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.mqtt_packets import publish
from support.scripted_server import scripted
from support.services import PATIENCE, mosquitto, wait_until

from consumer.broker import BatchLimits, BrokerConnection, Inbox
from consumer.config import Server

CONNACK = bytes.fromhex("20 03 00 00 00")
SUBACK = bytes.fromhex("90 07 00 01 00 01 01 01 00")
STATE = "spBv1.0/STATE/historian"
ROOM_FOR_ONE = 400


class Kept(dict):
    """A memory that lives as long as the test."""

    set = dict.__setitem__


class Watched(BrokerConnection):
    """A connection that notes what it was given message by message."""

    def __init__(self, *args, **options):
        self.one_by_one = []
        super().__init__(*args, **options)

    def _take_message(self, client, message):
        self.one_by_one.append(message.topic)
        super()._take_message(client, message)


@contextlib.contextmanager
def connection(room=1 << 24, *, host_id=None, **server):
    """A running connection, its inbox, and a list of (server, {node: messages}) refused there."""
    refused = []
    inbox = Inbox(
        room,
        BatchLimits(1_000_000, 1 << 30, 0.0),
        lambda: 0.0,
        lambda server, nodes: refused.append((server, nodes)),
    )
    made = Watched(
        0,
        Server(name="plant", **server),
        host_id=host_id,
        inbox=inbox,
        memory=Kept(),
        count_refused=lambda reason, messages: refused.append((reason, messages)),
    )
    made.start()
    try:
        yield made, inbox, refused
    finally:
        made.request_stop()
        made.join(PATIENCE)


def taken(inbox):
    """Messages that wait in the inbox, and whether the connection's end is behind them."""
    found, lost = [], False
    while batch := inbox.take(0.0):
        found += [each for part in batch.by_server.values() for each in part]
        lost = bool(batch.lost)
    return found, lost


def numbered(count, **options):
    return [publish("a", b"%d" % number, is_5=True, **options) for number in range(count)]


def test_a_full_inbox_refuses_what_is_too_much_and_reading_goes_on():
    data = b"".join([*numbered(5), *numbered(4)])
    behind = publish("spBv1.0/P/NDEATH/E", b"", is_5=True)
    with (
        scripted(CONNACK, SUBACK + data + behind) as port,
        connection(3 * ROOM_FOR_ONE + 10, url=f"mqtt://127.0.0.1:{port}") as (made, inbox, refused),
    ):
        wait_until(lambda: made._received == 10, what="all messages")
        found, _ = taken(inbox)
        # The death is another's who has nothing waiting: it takes the place of one of these.
        assert [(each.topic, each.payload) for each in found] == [
            ("a", b"0"),
            ("a", b"1"),
            ("spBv1.0/P/NDEATH/E", b""),
        ]
        assert {server for server, _ in refused} == {0}
        assert sum(nodes[""] for _, nodes in refused) == 7


def test_what_was_delivered_comes_before_the_end_of_the_connection_and_a_part_of_a_packet_is_none():
    data = b"".join(numbered(300))
    with (
        scripted(CONNACK, SUBACK + data[:-1], stay=False) as port,
        connection(url=f"mqtt://127.0.0.1:{port}") as (made, inbox, _),
    ):
        wait_until(lambda: made.connections and made.last_error, what="the end of the connection")
        found, lost = taken(inbox)
        assert [each.payload for each in found] == [b"%d" % number for number in range(299)]
        assert lost


@pytest.mark.parametrize("between", [False, True], ids=["alone", "between others"])
def test_what_is_not_plain_is_read_without_a_pause_after_each(monkeypatch, between):
    monkeypatch.setattr("consumer.broker.connection._BETWEEN_READS", PATIENCE / 200)
    deaths = [publish(f"spBv1.0/P/NDEATH/E{n}", b"", is_5=True) for n in range(300)]
    sent = [each for death in deaths for each in (death, *numbered(between))]
    with (
        scripted(CONNACK, SUBACK, b"".join(sent)) as port,
        connection(url=f"mqtt://127.0.0.1:{port}") as (made, inbox, _),
    ):
        wait_until(lambda: made._received == len(sent), what="all messages")
        found, _ = taken(inbox)
    topics = [each.topic for each in found]
    assert topics == [t for n in range(300) for t in (f"spBv1.0/P/NDEATH/E{n}", "a")[: 1 + between]]


def test_own_state_is_answered_at_its_place_between_messages_in_bulk():
    sent = [
        *numbered(3),
        publish(STATE, b"OFFLINE", is_5=True),
        *numbered(3),
    ]
    with (
        scripted(CONNACK, SUBACK, b"".join(sent)) as port,
        connection(host_id="historian", url=f"mqtt://127.0.0.1:{port}") as (made, inbox, _),
    ):
        wait_until(lambda: made._received == 7, what="all messages")
        found, _ = taken(inbox)
        assert [each.topic for each in found] == ["a"] * 3 + [STATE] + ["a"] * 3
        assert made.own_state.answers == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_messages_of_a_real_server_come_in_bulk_and_in_order(tmp_path, authority, protocol, scheme):
    tls, client_tls = "", {}
    if scheme == "mqtts":
        certificate = authority.issue("server")
        tls = (
            "listener {port} 127.0.0.1\n"
            f"certfile {certificate.cert_file}\nkeyfile {certificate.key_file}\n"
        )
        client_tls = {"tls": {"ca_file": str(authority.ca_file)}}
    with (
        mosquitto(tmp_path, tls) as server,
        connection(url=f"{scheme}://127.0.0.1:{server.port}", protocol=protocol, **client_tls) as (
            made,
            inbox,
            refused,
        ),
    ):
        wait_until(made.connected.is_set, what="a connection")
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if tls:
            client.tls_set(ca_certs=str(authority.ca_file))
        client.connect("127.0.0.1", server.port)
        client.loop_start()
        last = None
        for number in range(2_000):
            topic = f"spBv1.0/Plant/DDATA/Edge {number % 7}/Device"
            last = client.publish(topic, b"%d" % number, qos=number % 2)
        last.wait_for_publish(PATIENCE)
        wait_until(lambda: made._received >= 2_000, what="all messages")
        client.disconnect()
        client.loop_stop()
        found, _ = taken(inbox)
        # The server may send what is of the one quality before what is of the other.
        for quality in (0, 1):
            of_quality = [int(each.payload) for each in found if int(each.payload) % 2 == quality]
            assert of_quality == list(range(quality, 2_000, 2))
        assert not refused
        assert not [topic for topic in made.one_by_one if topic.startswith("spBv1.0/")]
