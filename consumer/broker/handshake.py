"""How a connection to an MQTT server begins, up to the host application's birth, and ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import paho.mqtt.client as mqtt

from consumer.broker.client import mqtt_client
from consumer.broker.publish_cutter import PublishCutter
from consumer.broker.tap import TappedClient, are_plain
from consumer.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.enums import MQTTErrorCode

    from consumer.broker.publish_cutter import Run
    from consumer.config import Server
    from sparkplug import Publish

LOOP_TIMEOUT: Final = 0.1
"""Longest wait for the socket, in seconds, before looking at what others want."""

_FAILURE: Final = 0x80
_REFUSALS: Final = {
    # What Mosquitto answers to a wrong password over MQTT 5, too.
    "Not authorized": "check username, password and the server's access rules",
    "Bad user name or password": "check username and password",
    "Unsupported protocol version": "set protocol: '3.1.1' for this server",
}


class WantedFilter(NamedTuple):
    """A topic filter, and the highest QoS in which its messages are wanted."""

    topic: str
    qos: int


class Subscriptions(NamedTuple):
    """What a connection asks for: `welcome` is what the server may refuse."""

    wanted: Sequence[WantedFilter]
    welcome: Sequence[WantedFilter]

    @property
    def all(self) -> list[WantedFilter]:
        """Everything that is asked for, what is wanted first."""
        return [*self.wanted, *self.welcome]


class Handshake:
    """A fresh paho client on its way to CONNACK, SUBACK and the birth.

    `announced` is True when all three are done, `thrown_out` when the server ended the
    connection instead of acknowledging the subscriptions. Later on `farewell` holds what the server
    said when it ended the connection, which only MQTT 5 can say.

    Raises:
        TlsFileError: a file of `server.tls` cannot be used; nothing was connected.
    """

    def __init__(
        self,
        server: Server,
        client_id: str,
        *,
        will: Publish | None,
        subscriptions: Subscriptions,
        announce: Callable[[mqtt.Client], None],
        receive: Callable[[mqtt.Client, mqtt.MQTTMessage], None],
        plain_topic: Callable[[bytes], str | None],
        receive_run: Callable[[Run], None],
    ) -> None:
        self._subscriptions = subscriptions
        self._announce = announce
        self._receive = receive
        self.announced = False
        self.thrown_out = False
        self._subscribing = False
        self.problem = ""
        self.farewell = ""
        self.client = client = mqtt_client(server, client_id, TappedClient)
        cutter = PublishCutter(
            is_5=server.protocol == "5", plain_topic=plain_topic, are_plain=are_plain
        )
        client.tap(cutter, receive_run)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    def check(self, code: MQTTErrorCode, *, time_is_up: bool) -> None:
        """Raise what went wrong so far.

        Raises:
            BrokerError: a refusal, the end of the connection, or the time is over.
        """
        if self.problem:
            raise BrokerError(self.problem)
        if code != mqtt.MQTT_ERR_SUCCESS:
            self.thrown_out = self._subscribing
            raise BrokerError(self.farewell or mqtt.error_string(code))
        if time_is_up and not self.announced:
            raise BrokerError("the server did not answer CONNECT or SUBSCRIBE in time")

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            text = str(code)
            hint = _REFUSALS.get(text)
            self.problem = f"refused: {text}" + (f"; {hint}" if hint else "")
            return
        self._subscribing = True
        client.subscribe([(topic, qos) for topic, qos in self._subscriptions.all])

    def _on_subscribe(
        self, client: mqtt.Client, _userdata: Any, _mid: int, codes: Any, _properties: Any
    ) -> None:
        self._subscribing = False
        # The further codes are those of subscriptions that a server may refuse.
        refused = [
            f"{topic} ({code})"
            for (topic, _), code in zip(self._subscriptions.wanted, codes, strict=False)
            if code.value >= _FAILURE
        ]
        if refused:
            self.problem = (
                f"subscription refused: {', '.join(refused)}; "
                "check the server's access rules for this user"
            )
            return
        self._announce(client)
        self.announced = True

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._receive(client, message)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.farewell = f"the server ended the connection: {code}"


def say(client: mqtt.Client, publish: Publish, deadline: float) -> bool:
    """Publish, and read until the server has acknowledged; False if it did not in time."""
    info = client.publish(publish.topic, publish.payload, qos=publish.qos, retain=publish.retain)
    return read_until(client, info.is_published, deadline)


def disconnect(client: mqtt.Client, topics: Sequence[str], deadline: float) -> None:
    """Give the subscriptions back, read what is still on the way, then DISCONNECT.

    A socket closed with something unread is reset, and a server that sees the reset
    before DISCONNECT publishes the will.
    """
    given_back: list[int] = []
    client.on_unsubscribe = lambda *_: given_back.append(1)
    client.unsubscribe(list(topics))
    read_until(client, lambda: given_back, deadline)
    client.disconnect()


def read_until(client: mqtt.Client, done: Callable[[], object], deadline: float) -> bool:
    """Read until `done()`; False if the deadline or the connection's end came first.

    `deadline` is by `time.monotonic`.
    """
    while not done():
        left = deadline - time.monotonic()
        if left <= 0 or client.loop(min(left, LOOP_TIMEOUT)) != mqtt.MQTT_ERR_SUCCESS:
            return bool(done())
    return True
