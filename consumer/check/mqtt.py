"""Checks one MQTT server. Subscribes and listens; publishes nothing, has no will."""

from __future__ import annotations

import json
import queue
import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.broker import mqtt_client
from consumer.check.report import Finding, PartError, Status
from consumer.errors import TlsFileError
from consumer.network import unreachable
from sparkplug import StateTopic, Topic, is_shared, parse_topic, plain_levels

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from consumer.check.traffic import Traffic
    from consumer.config import Server

_FAILURE: Final = 0x80  # reason codes from here on are failures (MQTT 5, section 2.4)

# CONNACK reason codes (MQTT 5, section 3.2.2.2; paho translates those of 3.1.1) -> mend.
_CREDENTIALS: Final = "check username and password, and that the server knows this user"
_REFUSED: Final = {
    0x84: 'the server speaks another version: set protocol to "3.1.1" or "5"',
    0x85: "the server does not take this client id: set client_id to one that it allows",
    0x86: _CREDENTIALS,
    0x87: _CREDENTIALS,
    0x88: "the server is not available: look at its log",
    0x89: "the server is busy: try again later",
    0x8A: "the server has banned this client: ask its administrator",
}


class _Connected(NamedTuple):
    code: ReasonCode


class _Subscribed(NamedTuple):
    message_id: int
    codes: list[ReasonCode]


class _Received(NamedTuple):
    topic: str
    payload: bytes


class _Disconnected(NamedTuple):
    code: ReasonCode


_Event = _Connected | _Subscribed | _Received | _Disconnected


def check_server(
    server: Server,
    *,
    key: str,
    host_id: str,
    listen: float,
    timeout: float,
    traffic: Traffic,
) -> list[Finding]:
    """Connect, subscribe and listen as the consumer would, under a client id of its own.

    Args:
        server: The server's configuration.
        key: Where that stands, such as servers[0].
        host_id: The consumer's host id, to see whether another host has it.
        listen: How many seconds to listen.
        timeout: How many seconds each step may take.
        traffic: Gets what is heard.

    Raises:
        PartError: a step failed.
    """
    return _Visit(server, key, timeout, traffic).run(host_id, listen)


class _Visit:
    def __init__(self, server: Server, key: str, timeout: float, traffic: Traffic) -> None:
        self._server = server
        self._key = key
        self._timeout = timeout
        self._traffic = traffic
        self._is_listening = False
        # Bounded: what arrives while nobody looks is not needed.
        self._events: queue.Queue[_Event] = queue.Queue(maxsize=1000)
        self._part = f"mqtt {server.name}"

    def run(self, host_id: str, listen: float) -> list[Finding]:
        client = self._client()
        started = time.monotonic()
        self._connect(client)
        client.loop_start()
        try:
            self._await_connack()
            connected_after = time.monotonic() - started
            self._subscribe(client)
            heard = self._listen(host_id, listen)
        finally:
            client.disconnect()
            client.loop_stop()
        topics = ", ".join(self._server.topics)
        text = f"connected in {connected_after * 1000:.0f} ms, subscribed ({topics})"
        if any(map(is_shared, self._server.topics)):
            text += "; what is shared by its plain filter, to take nothing from a running consumer"
        return [Finding(Status.OK, self._part, text), *heard]

    def _client(self) -> Client:
        # Not the consumer's own id: that would end its connection.
        own = f"{self._server.client_id or 'sparkplug-zerobus'}-check-{secrets.token_hex(4)}"
        try:
            client = mqtt_client(self._server, own)
        except TlsFileError as error:
            raise PartError(error.what, error.mend(self._key)) from None
        client.connect_timeout = self._timeout
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _connect(self, client: Client) -> None:
        server = self._server
        try:
            client.connect(server.host, server.port, keepalive=30)
        except OSError as error:
            found = unreachable(
                error,
                host=server.host,
                port=server.port,
                key=f"{self._key}.url",
                trust=f"set {self._key}.tls.ca_file to the PEM file of the authority that "
                "signed it",
                timeout=self._timeout,
            )
            raise PartError(*found) from None

    def _await_connack(self) -> None:
        while True:
            event = self._next(self._timeout, "did not answer CONNECT")
            if isinstance(event, _Connected):
                break
            if isinstance(event, _Disconnected):
                raise PartError(
                    "the server ended the connection instead of answering CONNECT",
                    self._mend_silence(),
                )
        value = int(event.code.value)
        if value >= _FAILURE:
            mend = _REFUSED.get(value, "look at the server's log")
            raise PartError(f"CONNECT refused: {event.code} (code {value})", mend)

    def _mend_silence(self) -> str:
        server = self._server
        mends = []
        if server.uses_tls and not server.tls.cert_file:
            mends.append("set tls.cert_file and tls.key_file if it asks for a client certificate")
        if not server.uses_tls:
            mends.append("write mqtts:// if this is a TLS port")
        if server.protocol == "5":
            mends.append('set protocol to "3.1.1" if it does not know MQTT 5')
        mends.append("look at the server's log")
        return "; ".join(mends)

    def _subscribe(self, client: Client) -> None:
        # QoS 1: death certificates of edge nodes are sent with it. What is shared is asked for by
        # its plain filter: a member of the group would take messages from a running consumer.
        plain = ["/".join(plain_levels(topic)) for topic in self._server.topics]
        _, message_id = client.subscribe([(topic, 1) for topic in plain])
        while True:
            event = self._next(self._timeout, "did not answer SUBSCRIBE")
            if isinstance(event, _Disconnected):
                raise PartError(
                    f"the server ended the connection on SUBSCRIBE: {event.code}",
                    f"give this user the right to read {self._key}.topics",
                )
            if isinstance(event, _Subscribed) and event.message_id == message_id:
                break
        for topic, code in zip(self._server.topics, event.codes, strict=False):
            if int(code.value) >= _FAILURE:
                raise PartError(
                    f"subscription to {topic} refused: {code} (code {code.value})",
                    f"give this user the right to read {topic}, or correct {self._key}.topics",
                )

    def _listen(self, host_id: str, seconds: float) -> list[Finding]:
        if not seconds:
            return []
        started = time.monotonic()
        self._is_listening = True
        first, strange = "", 0
        others: list[Finding] = []
        while (left := started + seconds - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, _Disconnected):
                raise PartError(
                    f"the server ended the connection: {event.code}", "look at the server's log"
                )
            if not isinstance(event, _Received):
                continue
            topic = parse_topic(event.topic)
            if isinstance(topic, Topic):
                first = first or f"first message after {seconds - left:.1f} s: {event.topic}"
            elif isinstance(topic, StateTopic):
                if topic.host_id == host_id and _says_online(event.payload) and not others:
                    text = f"a host {host_id} says that it is online"
                    mend = "fine if that is this consumer; another one needs a host.id of its own"
                    others.append(Finding(Status.NOTE, self._part, text, mend))
            else:
                strange += 1
        self._is_listening = False
        self._traffic.seconds = time.monotonic() - started
        return [*others, *self._heard(first, strange, seconds)]

    def _heard(self, first: str, strange: int, seconds: float) -> list[Finding]:
        """Findings about the messages of edge nodes that came while listening for `seconds`."""
        if first:
            texts = [first, *([str(self._traffic)] if self._traffic.messages else [])]
            return [Finding(Status.NOTE, self._part, text) for text in texts]
        if strange:
            text = f"{strange} messages in {seconds:g} s, none of them Sparkplug B"
            return [Finding(Status.NOTE, self._part, text, f"correct {self._key}.topics")]
        mend = (
            "fine while no value changes; else check that edge nodes publish to this server "
            "and that this user may read their topics"
        )
        return [Finding(Status.NOTE, self._part, f"nothing heard in {seconds:g} s", mend)]

    def _next(self, timeout: float, complaint: str) -> _Event:
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            raise PartError(
                f"the server {complaint} within {timeout:g} s", self._mend_silence()
            ) from None

    def _put(self, event: _Event) -> None:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            return

    # paho calls these from its network thread.

    def _on_connect(
        self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        self._put(_Connected(code))

    def _on_subscribe(
        self, _c: Client, _u: object, mid: int, codes: list[ReasonCode], _p: Properties | None
    ) -> None:
        self._put(_Subscribed(mid, codes))

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # not UTF-8: none that anything could be said of
        if self._is_listening and not message.retain:
            self._traffic.count(topic, bytes(message.payload))
        self._put(_Received(topic, bytes(message.payload)))

    def _on_disconnect(
        self, _c: Client, _u: object, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        self._put(_Disconnected(code))


def _says_online(payload: bytes) -> bool:
    try:
        state = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(state, dict) and state.get("online") is True
