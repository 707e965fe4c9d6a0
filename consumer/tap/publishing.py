"""Publishes what was captured on an MQTT server, at the pace at which it came or another one.

That makes edge nodes that are none: whoever listens there takes what was for what is.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Self

from consumer.broker import mqtt_client
from consumer.errors import BrokerError, CaptureError
from consumer.network import read_address, unreachable
from consumer.tap.capture_format import Kind
from sparkplug import CERTIFICATE_PREFIX, MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paho.mqtt.client import MQTTMessageInfo

    from consumer.config import Server
    from consumer.tap.capture_format import Record

_TIMEOUT: Final = 15.0
_KEEPALIVE: Final = 30
_QOS: Final = 1
"""So the server acknowledges each message: nothing is lost on the way, and refusals are seen."""

_MOST_IN_FLIGHT: Final = 100
_MOST_BYTES_IN_FLIGHT: Final = 8 << 20
_LONGEST_PAUSE_US: Final = 24 * 3_600 * 1_000_000
"""Longest time between two messages that is believed: what is more is a clock that was set."""

_LOOK_EVERY: Final = 0.25
_FAILURE: Final = 0x80
_COMMANDS: Final = frozenset({MessageType.NCMD, MessageType.DCMD})
_REFUSALS: Final = {
    0x84: "set --protocol to the version that it speaks",
    0x86: "check --username and --password-file",
    0x87: "check --username, --password-file and the server's access rules",
}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, or an address that never leaves it."""
    address = read_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


class Publishing:
    """A connection on which records are published. Used once, as a context.

    Left out are commands, which would make edge nodes write, what hosts said of themselves, what a
    server had kept, and what is not Sparkplug's. Births that a server kept for later hosts are
    published as the births that they were. Nothing is published to be kept (retain).

    Attributes:
        published: messages that the server has acknowledged.
        left_out: messages that were not published, by why.
    """

    def __init__(self, server: Server) -> None:
        """Connect nothing yet.

        Args:
            server: where, as whom, and with which certificates.

        Raises:
            TlsFileError: a file of `server.tls` cannot be used.
        """
        self.published = 0
        self.left_out: Counter[str] = Counter()
        self._server = server
        self._client = mqtt_client(server, f"sparkplug-zerobus-replay-{secrets.token_hex(4)}")
        self._client.max_inflight_messages_set(_MOST_IN_FLIGHT)
        self._answers: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._why = ""
        self._in_flight: deque[tuple[MQTTMessageInfo, int]] = deque()
        self._bytes_in_flight = 0

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: the server cannot be reached, or refuses; says why and how to mend it.
        """
        server, client = self._server, self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        try:
            client.connect(server.host, server.port, keepalive=_KEEPALIVE)
        except OSError as error:
            found = unreachable(
                error,
                host=server.host,
                port=server.port,
                key="--to",
                trust="name the PEM file of the authority that signed it in --ca-file",
                timeout=client.connect_timeout,
            )
            raise BrokerError(f"{found.text}; {found.mend}") from None
        client.loop_start()
        try:
            self._await_answer()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._leave()

    def publish(self, records: Iterable[Record], pace: float, stop: threading.Event) -> None:
        """Publish records, and wait until the server has acknowledged all of them.

        Args:
            records: what was captured.
            pace: how many times as fast as it came; 0: as fast as the server takes it.
            stop: when it is set, no more is published.

        Raises:
            BrokerError: the server refuses a message, or ended the connection.
            CaptureError: of the records; those before were published.
        """
        begun = time.monotonic()
        latest_us = passed = 0
        try:
            for record in records:
                at_us = record.message.received_us
                # A clock that was set back, or forth by a month, is waited for by nobody.
                passed += min(max(0, at_us - latest_us), _LONGEST_PAUSE_US) if latest_us else 0
                latest_us = at_us
                topic = self._topic(record)
                if topic is None:
                    continue
                if pace:
                    self._wait(begun + passed / 1e6 / pace, stop)
                if stop.is_set():
                    break
                self._send(topic, record.message.payload)
        except CaptureError:
            self._settle(0)
            raise
        self._settle(0)

    # ------------------------------------------------------------------ one by one

    def _topic(self, record: Record) -> str | None:
        """Where a record is published; None if it is not."""
        message = record.message
        if record.kind is not Kind.MESSAGE:
            return None
        kept = message.topic.startswith(CERTIFICATE_PREFIX)
        topic = message.topic.removeprefix(CERTIFICATE_PREFIX)
        read = parse_topic(topic)
        if not isinstance(read, Topic) or any(character in topic for character in "+#\0"):
            self.left_out["no message of an edge node"] += 1
        elif read.message_type in _COMMANDS:
            self.left_out["commands"] += 1
        elif message.retained and not kept:
            self.left_out["retained"] += 1
        else:
            return topic
        return None

    def _send(self, topic: str, payload: bytes) -> None:
        self._check()
        self._settle(_MOST_IN_FLIGHT - 1, _MOST_BYTES_IN_FLIGHT)
        info = self._client.publish(topic, payload, qos=_QOS, retain=False)
        self._in_flight.append((info, len(payload)))
        self._bytes_in_flight += len(payload)
        if not self.published:
            # The first goes alone. A server that refuses it says so; of many that it refuses
            # Mosquitto ends the connection, and what it had said of them may be lost with that.
            self._settle(0)

    def _settle(self, most: int, most_bytes: int = 0) -> None:
        """Wait until no more messages, nor more bytes, are on the way."""
        deadline = time.monotonic() + _TIMEOUT
        while self._in_flight and (
            len(self._in_flight) > most or self._bytes_in_flight > most_bytes
        ):
            info, size = self._in_flight[0]
            info.wait_for_publish(_LOOK_EVERY)
            if info.is_published():
                self._in_flight.popleft()
                self._bytes_in_flight -= size
                self.published += 1
                deadline = time.monotonic() + _TIMEOUT
            elif time.monotonic() > deadline:
                raise BrokerError(f"{self._server.url} acknowledges nothing any more")
            self._check()

    def _wait(self, until: float, stop: threading.Event) -> None:
        while (left := until - time.monotonic()) > 0 and not stop.is_set():
            self._settle_done()
            self._ended.wait(min(left, _LOOK_EVERY))
            self._check()

    def _settle_done(self) -> None:
        """Count what has been acknowledged, waiting for nothing."""
        while self._in_flight and self._in_flight[0][0].is_published():
            self._bytes_in_flight -= self._in_flight.popleft()[1]
            self.published += 1

    def _check(self) -> None:
        if self._ended.is_set():
            raise BrokerError(f"{self._server.url} {self._why}")

    # ------------------------------------------------------------------ the connection

    def _await_answer(self) -> None:
        try:
            code, text = self._answers.get(timeout=_TIMEOUT)
        except queue.Empty:
            raise BrokerError(
                f"{self._server.url} did not answer CONNECT within {_TIMEOUT:g} s; check that "
                "it is an MQTT server, and has TLS exactly for mqtts://"
            ) from None
        if code >= _FAILURE:
            mend = _REFUSALS.get(code, "look at the server's log")
            raise BrokerError(f"{self._server.url} refuses the connection: {text}; {mend}")

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # paho calls these from its network thread.

    def _on_connect(self, _c: Any, _u: Any, _f: Any, code: Any, _p: Any) -> None:
        self._answers.put((int(code.value), str(code)))

    def _on_disconnect(self, _c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
        said = f": {code}" if flags.is_disconnect_packet_from_server else ""
        self._end(f"ended the connection{said}; look at the server's log")
        self._answers.put((_FAILURE, "it ended the connection"))

    def _on_publish(self, _c: Any, _u: Any, _mid: int, code: Any, _p: Any) -> None:
        # Only MQTT 5 can say it.
        if int(code.value) >= _FAILURE:
            self._end(
                f"refuses what is published: {code}; give this user the right to write below "
                "spBv1.0/"
            )

    def _end(self, why: str) -> None:
        if not self._ended.is_set():
            self._why = why
            self._ended.set()
