"""The recorder reads MQTT as the standards write it, and never stands in the way."""

from __future__ import annotations

import socket

import pytest
from support.services import wait_until

from conformance.mqtt_packets import (
    SESSION_EXPIRY_INTERVAL,
    Connack,
    Connect,
    Conversation,
    Disconnect,
    MalformedPacket,
    Other,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
    Will,
)
from conformance.recording_proxy import recording_proxy

# CONNECT with a will (QoS 1, retained), user name and password, keep alive 10.
CONNECT_311 = bytes.fromhex(
    "10 21 0004 4D515454 04 EE 000A  0003 6162630003 742F73 0002 7B7D  0001 75 0004 70617373"
)
# CONNECT with a session expiry interval, a user property, and a will with a delay.
CONNECT_5 = bytes.fromhex(
    "10 2B 0004 4D515454 05 2E 001E  0C 11 00000000 26 0001 6B 0001 76  0003 616263"
    "05 18 00000005  0003 742F73 0002 7B7D"
)
AS_311 = [
    (CONNECT_311, Connect(4, "abc", True, 10, Will("t/s", b"{}", 1, True), "u")),
    (bytes.fromhex("20 02 01 00"), Connack(True, 0)),
    (bytes.fromhex("82 0C 0007 0003 612F62 01 0001 23 00"), Subscribe(7, (("a/b", 1), ("#", 0)))),
    (bytes.fromhex("90 04 0007 01 80"), Suback(7, (1, 0x80))),
    (bytes.fromhex("30 06 0003 612F62 78"), Publish("a/b", b"x", 0, False)),
    (bytes.fromhex("3B 08 0003 612F62 0009 78"), Publish("a/b", b"x", 1, True, True, 9)),
    (bytes.fromhex("40 02 0009"), Puback(9)),
    (bytes.fromhex("A2 05 0008 0001 23"), Unsubscribe(8, ("#",))),
    (bytes.fromhex("B0 02 0008"), Other("UNSUBACK")),
    (bytes.fromhex("C0 00"), Other("PINGREQ")),
    (bytes.fromhex("D0 00"), Other("PINGRESP")),
    (bytes.fromhex("E0 00"), Disconnect()),
]
AS_5 = [
    (
        CONNECT_5,
        Connect(
            5,
            "abc",
            True,
            30,
            Will("t/s", b"{}", 1, True),
            None,
            {SESSION_EXPIRY_INTERVAL: 0, 0x26: ("k", "v")},
        ),
    ),
    (bytes.fromhex("20 06 00 00 03 21 000A"), Connack(False, 0)),
    (bytes.fromhex("82 0B 0007 02 0B 05 0003 612F62 2D"), Subscribe(7, (("a/b", 0x2D),))),
    (bytes.fromhex("90 04 0007 00 01"), Suback(7, (1,))),
    (bytes.fromhex("33 0B 0003 612F62 0009 02 01 01 78"), Publish("a/b", b"x", 1, True, False, 9)),
    (bytes.fromhex("40 02 0009"), Puback(9)),
    (bytes.fromhex("40 04 0009 10 00"), Puback(9, 0x10)),
    (bytes.fromhex("A2 06 0008 00 0001 23"), Unsubscribe(8, ("#",))),
    (bytes.fromhex("E0 02 04 00"), Disconnect(4)),
]


@pytest.mark.parametrize("packets", [AS_311, AS_5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_packets_are_read_however_the_bytes_are_cut(packets, step):
    conversation = Conversation()
    data = b"".join(each for each, _ in packets)
    read = []
    for start in range(0, len(data), step):
        read += conversation.feed(data[start : start + step], from_client=True)
    assert read == [packet for _, packet in packets]


def test_the_two_directions_do_not_mix():
    conversation = Conversation()
    assert conversation.feed(CONNECT_5 + b"\x30", from_client=True) == [AS_5[0][1]]
    assert conversation.feed(AS_5[1][0], from_client=False) == [AS_5[1][1]]
    assert conversation.feed(bytes.fromhex("05 0001 61 00 62"), from_client=True) == [
        Publish("a", b"b", 0, False)
    ]


def test_a_payload_longer_than_one_length_byte_can_say():
    conversation = Conversation()
    conversation.feed(CONNECT_311, from_client=True)
    payload = bytes(range(256)) * 100
    length = len(payload) + 3
    header = bytes([0x30, length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    data = header + b"\x00\x01a" + payload
    assert conversation.feed(data[:-1], from_client=False) == []
    assert conversation.feed(data[-1:], from_client=False) == [Publish("a", payload, 0, False)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (bytes.fromhex("E0 00"), "CONNECT must come first"),
        (bytes.fromhex("10 06 0004 4D515453"), "another protocol"),
        (bytes.fromhex("10 0C 0004 4D515454 03 02 000A 0000"), "protocol version 3"),
        (CONNECT_311 + bytes.fromhex("00 00"), "no packet has type 0"),
        (CONNECT_311 + bytes.fromhex("30 04 0003 6162"), "ends within a field"),
        (CONNECT_311 + bytes.fromhex("30 03 0001 FF"), "not UTF-8"),
        (CONNECT_311 + bytes.fromhex("30 FF FF FF FF"), "more than four bytes"),
        (CONNECT_5 + bytes.fromhex("30 06 0001 61 02 7E 00"), "no property has identifier 126"),
    ],
)
def test_what_is_not_mqtt_is_said_to_be_none(data, problem):
    with pytest.raises(MalformedPacket, match=problem):
        Conversation().feed(data, from_client=True)


def test_the_proxy_passes_everything_on_also_what_it_cannot_read():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        recording_proxy(listener.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.sendall(CONNECT_311)
            assert server.recv(1000) == CONNECT_311
            server.sendall(AS_311[1][0])
            assert client.recv(1000) == AS_311[1][0]
            [connection] = proxy.connections
            assert [(each.from_client, each.packet) for each in connection.recorded] == [
                (True, AS_311[0][1]),
                (False, AS_311[1][1]),
            ]
            client.sendall(b"\x00\x00")
            assert server.recv(1000) == b"\x00\x00"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1000) == b""
        wait_until(lambda: connection.ended, what="the end")
        with pytest.raises(AssertionError, match="client: no packet has type 0"):
            _ = connection.recorded


def test_a_connection_that_is_cut_ends_for_both():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        recording_proxy(listener.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.sendall(CONNECT_5)
            assert server.recv(1000) == CONNECT_5
            proxy.connections[0].cut()
            assert server.recv(1000) == b""
            assert client.recv(1000) == b""
