"""What attackers do at the sockets: MQTT packets that are none, and HTTP that never ends."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from support.mqtt_packets import publish, variable

from attack.wire import of, payload, tag

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable


class Target(NamedTuple):
    """Where the MQTT server and the consumer's HTTP listen, on 127.0.0.1."""

    mqtt_port: int
    http_port: int


def connect_packet(client_id: str = "") -> bytes:
    """A CONNECT of MQTT 3.1.1."""
    raw = (client_id or f"attack-{secrets.token_hex(6)}").encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(raw).to_bytes(2, "big") + raw
    return b"\x10" + variable(len(body)) + body


def _say(port: int, pieces: Iterable[bytes], *, listen: bool = True) -> None:
    """Connect, send, and hear a little of what is answered; whatever becomes of it."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as stranger:
        for piece in pieces:
            stranger.sendall(piece)
        if listen:
            stranger.settimeout(0.05)
            stranger.recv(4_096)


def malformed_packets(target: Target, part: float, chance: random.Random) -> None:
    """Packets that no MQTT server should take, with and without a session."""
    good = publish("spBv1.0/Attack/NBIRTH/Raw", payload(tag("Level")), is_5=False)
    forms = (
        b"\x00" * 100,
        b"\x30" + b"\xff" * 4,
        b"\x30" + variable(200_000_000) + b"\x00\x05abc",
        publish("spBv1.0/#/NDATA/+", b"x", is_5=False),
        publish(b"spBv1.0/Attack/NDATA/\x00\xff\xed\xa0\x80", b"x", is_5=False),
        publish("spBv1.0/Attack/NDATA/\x1b[2J\n\u202e", b"x", is_5=False),
        publish("", b"x", is_5=False),
        publish("/" * 60_000, b"x", is_5=False),
        publish("spBv1.0/Attack/NDATA/Raw", b"x", is_5=False, qos=3),
        publish("spBv1.0/Attack/NDATA/Raw", b"x", is_5=True, properties=b"\x23\x00\x00"),
        b"\xe0\x00" + good,
        b"\x82\x02\x00\x00",
    )
    for _ in range(of(300, part)):
        raw = bytearray(good + chance.choice(forms) + good)
        if chance.random() < 0.5:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        _say(
            target.mqtt_port,
            [connect_packet(), bytes(raw)] if chance.random() < 0.8 else [bytes(raw)],
        )


def hostile_http(target: Target, part: float, chance: random.Random) -> None:
    """Many connections that say nothing or little, large heads, bodies, and no HTTP at all."""
    requests = (
        b"GET /status HTTP/1.1\r\nHost: a\r\n" + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"X-%d: 1\r\n" % n for n in range(5_000)),
        b"POST /ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + bytes(100_000),
        b"POST /status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"no HTTP\r\n\r\n",
        chance.randbytes(2_000),
    )
    with contextlib.ExitStack() as held:
        for _ in range(of(300, part)):
            with contextlib.suppress(OSError):
                slow = socket.create_connection(("127.0.0.1", target.http_port), 5)
                held.enter_context(slow)
                slow.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        for _ in range(of(200, part)):
            _say(target.http_port, [chance.choice(requests)], listen=chance.random() < 0.7)
        time.sleep(part)


DEEDS: dict[str, Callable[[Target, float, random.Random], None]] = {
    "malformed_packets": malformed_packets,
    "hostile_http": hostile_http,
}
"""Shapes that are no messages."""
