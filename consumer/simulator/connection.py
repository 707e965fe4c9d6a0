"""One MQTT connection of an edge node, run by the thread that owns it.

paho-mqtt's functions for an outside event loop are used instead of its own thread,
so that an edge node needs one thread and no locks. A connection lives once: the
next gets a new client, and with it a new will (the library would repeat the old).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from consumer.credentials import readings
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from sparkplug.edge import Connect, Publish

_CONNECT_SECONDS: Final = 5.0
_FORM: Final = "write mqtt://host[:port], or mqtts:// for TLS"
_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_MAX_UNSENT: Final = 200
"""Messages waiting for the socket before the edge node holds back."""


class Address(NamedTuple):
    """Where a server listens, and whether it is spoken to by TLS."""

    host: str
    port: int
    use_tls: bool


class Arrived(NamedTuple):
    """A message that came."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class MqttTarget:
    """Address, credentials and TLS for connecting to an MQTT server."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    keepalive: int = 30

    def address(self) -> Address:
        """Where the server listens.

        Raises:
            ConfigurationError: the URL is not mqtt://host[:port] or mqtts://host[:port].
        """
        # It is not quoted: it may hold a password, in more forms than one would think of.
        if any("@" in each for each in readings(self.url)):
            raise ConfigurationError("MQTT URL: give user name and password apart from the URL")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"MQTT URL: {_FORM}; check the port") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ConfigurationError(f"MQTT URL: {_FORM}")
        return Address(
            parts.hostname, port or _DEFAULT_PORTS[parts.scheme], use_tls=parts.scheme == "mqtts"
        )


class MqttConnection:
    """A connection from CONNECT to its end.

    `ready` is True once all subscriptions are acknowledged, `lost` holds the reason
    once it has ended. What `publish` was given is either in `take_sent` or, after
    the end, in `take_unsent`.
    """

    def __init__(self, target: MqttTarget, connect: Connect, client_id: str) -> None:
        """Connect the socket and send CONNECT.

        Raises:
            OSError: the server cannot be reached, or its certificate is not trusted.
        """
        self.ready = False
        self.lost: str | None = None
        self._arrived: deque[Arrived] = deque()
        self._pending: deque[tuple[Publish, mqtt.MQTTMessageInfo]] = deque()
        self._sent: list[Publish] = []
        self._subscriptions = connect.subscriptions
        self._deadline = time.monotonic() + _CONNECT_SECONDS
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        host, port, use_tls = target.address()
        if use_tls:
            client.tls_set_context(target.tls or ssl.create_default_context())
        if target.username is not None:
            client.username_pw_set(target.username, target.password)
        client.connect_timeout = _CONNECT_SECONDS
        will = connect.will
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._selector = selectors.DefaultSelector()
        try:
            client.connect(host, port, target.keepalive)
        except BaseException:
            self._selector.close()
            raise
        opened = client.socket()
        assert isinstance(opened, socket.socket)
        self._socket: socket.socket | None = opened
        self._selector.register(opened, selectors.EVENT_READ)

    @property
    def congested(self) -> bool:
        """The server takes messages slower than they are published."""
        return len(self._pending) > _MAX_UNSENT

    @property
    def idle(self) -> bool:
        """Everything that was published has been written to the socket, and was taken note of."""
        return not self._pending and not self._sent

    def wait(self, seconds: float) -> list[Arrived]:
        """Serve the connection until something arrives, but no longer than `seconds`."""
        if self.lost is None:
            self._serve(seconds)
        if self.lost is None and not self.ready and time.monotonic() > self._deadline:
            self._end("no answer to CONNECT or SUBSCRIBE")
        self._settle()
        arrived = list(self._arrived)
        self._arrived.clear()
        return arrived

    def publish(self, publish: Publish) -> None:
        """Hand a message to the connection."""
        info = self._client.publish(publish.topic, publish.payload, publish.qos, publish.retain)
        self._pending.append((publish, info))

    def take_sent(self) -> list[Publish]:
        """Messages that were written to the socket (QoS 1: acknowledged) since the last call."""
        self._settle()
        sent, self._sent = self._sent, []
        return sent

    def take_unsent(self) -> list[Publish]:
        """After the end: messages that were not sent."""
        self._settle()
        unsent = [publish for publish, _ in self._pending]
        self._pending.clear()
        return unsent

    def close(self, timeout: float = 2.0) -> None:
        """Write what is pending, then DISCONNECT; after `timeout` seconds break off."""
        deadline = time.monotonic() + timeout
        while self.lost is None and time.monotonic() < deadline:
            self._settle()
            if not self._pending:
                self._client.disconnect()
                break
            self._serve(0.05)
        while self.lost is None and time.monotonic() < deadline:
            self._serve(0.05)
        self._end("closed")

    def break_off(self) -> None:
        """End the connection without DISCONNECT, as a failing network does."""
        if self.lost is None and self._socket is not None:
            with contextlib.suppress(OSError):  # it may have ended this moment
                self._socket.shutdown(socket.SHUT_RDWR)

    def _serve(self, seconds: float) -> None:
        """One round of paho's outside event loop."""
        client = self._client
        events = selectors.EVENT_READ
        if client.want_write():
            events |= selectors.EVENT_WRITE
        assert self._socket is not None
        self._selector.modify(self._socket, events)
        ready = self._selector.select(seconds)
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        for _, mask in ready:
            if mask & selectors.EVENT_READ:
                result = client.loop_read()
                while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._buffered():
                    result = client.loop_read()  # TLS has decrypted more than was read
            if mask & selectors.EVENT_WRITE and self.lost is None:
                result = result or client.loop_write()
        if self.lost is None:
            result = result or client.loop_misc()
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS and self.lost is None:
            self._end(mqtt.error_string(result))

    def _buffered(self) -> bool:
        current = self._client.socket()
        return isinstance(current, ssl.SSLSocket) and current.pending() > 0

    def _settle(self) -> None:
        """Move what has been sent out of the pending messages."""
        while self._pending:
            publish, info = self._pending[0]
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or not info.is_published():
                break
            self._sent.append(publish)
            self._pending.popleft()

    def _end(self, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
        self.ready = False
        self._selector.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- paho's callbacks; they run inside the functions above and only take notes

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self._end(f"the server refused the connection: {code}")
            return
        client.subscribe([(each.topic_filter, each.qos) for each in self._subscriptions])

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: Any,
        _mid: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if any(code.is_failure for code in codes):
            self._end("the server refused a subscription: see its access control list")
        else:
            self.ready = True

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._arrived.append(Arrived(message.topic, bytes(message.payload)))

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._end(f"connection ended: {code}")
