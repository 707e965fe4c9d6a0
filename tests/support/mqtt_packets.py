"""Bytes that an MQTT server sends, and what paho, alone or with the tap under it, makes of them."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from select import select
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from consumer.broker.publish_cutter import PublishCutter, packet_size
from consumer.broker.tap import Tap, TappedClient, are_plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.broker.publish_cutter import Run

CONNACK: Final = {True: bytes.fromhex("20 03 00 00 00"), False: bytes.fromhex("20 02 00 00")}
"""By whether MQTT 5 is spoken."""
OWN_TOPIC: Final = "spBv1.0/STATE/host"
_KEEPALIVE: Final = 600
_MOST_TURNS: Final = 20_000
_BUFFER: Final = 1 << 22


def variable(number: int, *, least: int = 1) -> bytes:
    """A variable byte integer, of at least so many bytes."""
    result = bytearray()
    while number or len(result) < least:
        result.append(number & 127 | 128)
        number >>= 7
    result[-1] &= 127
    return bytes(result)


def publish(
    topic: str | bytes = "spBv1.0/Plant/NDATA/Edge",
    payload: bytes = b"x",
    *,
    is_5: bool,
    qos: int = 0,
    packet_id: int = 1,
    retained: bool = False,
    dup: bool = False,
    properties: bytes = b"",
    least: int = 1,
) -> bytes:
    """A PUBLISH packet; `least` bytes for its length."""
    raw = topic.encode() if isinstance(topic, str) else topic
    body = len(raw).to_bytes(2, "big") + raw
    if qos:
        body += packet_id.to_bytes(2, "big")
    if is_5:
        body += variable(len(properties)) + properties
    body += payload
    first = 0x30 | dup << 3 | qos << 1 | retained
    return bytes([first]) + variable(len(body), least=least) + body


def up_to_type_0(stream: bytes) -> bytes:
    """What comes before a packet that begins with zero, which none may (MQTT 2.1.2).

    Such a byte is "none yet" to paho, so that what follows depends on when the next ones come.
    """
    at = 0
    while at < len(stream) and stream[at]:
        size = packet_size(stream, at)
        if size <= 0:
            return stream
        at += size
    return stream[:at]


def is_plain_topic(raw: bytes) -> str | None:
    """As the connection of a host says it."""
    try:
        topic = raw.decode()
    except UnicodeDecodeError:
        return None
    special = topic == OWN_TOPIC or topic.startswith("$") or "DEATH/" in topic
    return None if special or any(each in topic for each in "+#\0") else topic


@dataclass
class Read:
    """What a client made of a stream.

    `said` is what it sent back, `end` how it ended, `in_bulk` how many messages the tap took.
    """

    messages: list[tuple[bytes, bytes, bool]] = field(default_factory=list)
    said: bytes = b""
    end: object = None
    in_bulk: int = 0


def read(chunks: Iterable[bytes], *, is_5: bool, tapped: bool) -> Read:
    """Let a client read a stream that comes in these pieces, and then ends."""
    found = Read()
    server, ours = socket.socketpair()
    with server, ours:
        for each, option in ((server, socket.SO_SNDBUF), (ours, socket.SO_SNDBUF)):
            each.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        client = _client(found, ours, is_5=is_5, tapped=tapped)
        client.connect("nowhere", keepalive=_KEEPALIVE)
        server.recv(65536)  # CONNECT
        found.end = _let_read(client, server, ours, chunks)
        if (left := client.socket()) is not None:
            left.close()
        server.setblocking(False)
        try:
            while said := server.recv(65536):
                found.said += said
        except OSError:
            pass
    return found


def _client(found: Read, ours: socket.socket, *, is_5: bool, tapped: bool) -> mqtt.Client:
    made = TappedClient if tapped else mqtt.Client
    client = made(
        CallbackAPIVersion.VERSION2,
        client_id="host",
        protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
        reconnect_on_failure=False,
    )

    def receive(_client: object, _userdata: object, message: Any) -> None:
        found.messages.append((message._topic, bytes(message.payload), bool(message.retain)))

    def receive_run(run: Run) -> None:
        found.in_bulk += len(run.topics)
        for topic, payload in zip(run.topics, run.payloads, strict=True):
            found.messages.append((topic.encode(), payload, run.retained))

    client.on_message = receive
    client._create_socket_connection = lambda: ours  # type: ignore[method-assign]
    if isinstance(client, TappedClient):
        cutter = PublishCutter(is_5=is_5, plain_topic=is_plain_topic, are_plain=are_plain)
        client.tap(cutter, receive_run)
    return client


def _let_read(
    client: mqtt.Client, server: socket.socket, ours: socket.socket, chunks: Iterable[bytes]
) -> object:
    """How the connection ended, with everything read that came before."""
    for chunk in (*chunks, None):
        if chunk is None:
            server.shutdown(socket.SHUT_WR)
        else:
            server.sendall(chunk)
        for _ in range(_MOST_TURNS):
            tap = client.socket()
            if tap is None:
                return "no socket"
            held = isinstance(tap, Tap) and tap.pending()
            if not held and not select([ours], [], [], 0)[0]:
                break
            try:
                code = client.loop(0.0)
            except Exception as error:  # noqa: BLE001 - as paho ends, so be it
                return type(error)
            if code != mqtt.MQTT_ERR_SUCCESS:
                return code
        else:
            raise AssertionError("a client that reads and reads, and does not come to an end")
    return "open"
