"""One MQTT connection as a Sparkplug host application: sockets, and nothing else.

Every connection is a new paho client, because a client that reconnects by itself would
present its old will again, whose timestamp edge nodes then ignore. The order of packets
is the specification's (5.2 and 5.3): CONNECT with the will, SUBSCRIBE, and after its
acknowledgement the birth as the first publish.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from consumer.errors import BrokerError
from sparkplug.commands import COMMAND_QOS, rebirth_command
from sparkplug.host_state import HostState
from sparkplug.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.config import Server
    from consumer.inbox import Inbox
    from consumer.spool import Spool

_LOG = logging.getLogger(__name__)

SUBSCRIBE_QOS: Final = 1
"""The NDEATH will is QoS 1, all else QoS 0 (payloads-ndeath-will-message-qos)."""

_KEEPALIVE: Final = 30
_HANDSHAKE_TIMEOUT: Final = 15.0
_LOOP_TIMEOUT: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_FAILURE: Final = 0x80
_REFUSALS: Final = {
    # What Mosquitto answers to a wrong password over MQTT 5, too.
    "Not authorized": "check username, password and the server's access rules",
    "Bad user name or password": "check username and password",
    "Unsupported protocol version": "set protocol: '3.1.1' for this server",
}


class BrokerConnection:
    """Keeps one server connected, on a thread of its own, until stopped.

    Args:
        index: position of the server in the configuration; marks its messages.
        server: its configuration.
        host_id: the host application's id; None for a passive host, which never publishes.
        inbox: where messages go.
        spool: keeps the client id and the last STATE timestamp over restarts.
        count_refused: called with a reason for each message that goes nowhere.
    """

    def __init__(
        self,
        index: int,
        server: Server,
        *,
        host_id: str | None,
        inbox: Inbox,
        spool: Spool,
        count_refused: Callable[[str], None],
    ) -> None:
        self.server = server
        self.connected = threading.Event()
        self.connections = 0
        self.last_error = ""
        self._index = index
        self._inbox = inbox
        self._spool = spool
        self._count_refused = count_refused
        self._stop = threading.Event()
        self._state_lock = threading.Lock()
        self._timestamp_key = f"state_timestamp/{server.name}"
        self._state: HostState | None = None
        if host_id is not None:
            last = spool.get_state(self._timestamp_key)
            self._state = HostState(host_id, int(last) if isinstance(last, (int, float)) else 0)
        self._client_id = server.client_id or self._remembered_client_id()
        self._client: mqtt.Client | None = None
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{server.name}", daemon=True)

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Publish the offline STATE, wait for its acknowledgement, disconnect.

        (operational-behavior-host-application-termination, -disconnect-intentional)
        """
        client = self._client
        self._stop.set()
        if client is not None and self.connected.is_set():
            if self._state is not None:
                with self._state_lock:
                    offline = self._state.stop(_now_ms())
                info = client.publish(
                    offline.topic, offline.payload, qos=offline.qos, retain=offline.retain
                )
                try:
                    info.wait_for_publish(timeout)
                except (RuntimeError, ValueError) as error:
                    _LOG.warning("offline STATE was not delivered: %s", error)
                self._remember_timestamp()
            client.disconnect()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def request_rebirth(self, group_id: str, edge_node_id: str) -> bool:
        """Publish a rebirth request; False if there is no connection, or we never publish."""
        client = self._client
        if client is None or self._state is None or not self.connected.is_set():
            return False
        topic, payload = rebirth_command(group_id, edge_node_id, _now_ms())
        info = client.publish(topic, payload, qos=COMMAND_QOS, retain=False)
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            client = self._connect_with_patience()
            if client is None:
                return
            try:
                self._serve(client)
            finally:
                self.connected.clear()
                self._client = None
                if self._state is not None and not self._stop.is_set():
                    with self._state_lock:
                        self._state.lost()
            if not self._stop.is_set():
                _LOG.warning(
                    "connection to %s lost: %s",
                    self.server.name,
                    self.last_error or "closed by the server",
                    extra={"server": self.server.name},
                )
                # Two clients with one id would otherwise throw each other out without pause.
                self._stop.wait(1.0 + random.random())  # noqa: S311 - jitter

    def _connect_with_patience(self) -> mqtt.Client | None:
        """A connected client; None once stopped."""
        retrying = Retrying(
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            retry=retry_if_exception_type((OSError, ValueError, BrokerError)),
            before_sleep=self._log_attempt,
            retry_error_callback=lambda _: None,
        )
        client: mqtt.Client | None = retrying(self._connect)
        return client

    def _log_attempt(self, state: RetryCallState) -> None:
        self.last_error = str(state.outcome.exception()) if state.outcome else ""
        if state.attempt_number in (1, 2, 4, 8) or state.attempt_number % 16 == 0:
            _LOG.warning(
                "cannot connect to %s (%s), attempt %d: %s",
                self.server.name,
                self.server.url,
                state.attempt_number,
                self.last_error,
                extra={"server": self.server.name, "attempt": state.attempt_number},
            )

    def _connect(self) -> mqtt.Client:
        """One attempt: CONNECT, SUBSCRIBE, birth.

        Raises:
            BrokerError: the server refused something, or did not answer in time.
            OSError: no connection could be made.
        """
        attempt = _Attempt(self)
        client = attempt.client
        try:
            client.connect(self.server.host, self.server.port, keepalive=_KEEPALIVE)
            deadline = time.monotonic() + _HANDSHAKE_TIMEOUT
            while not attempt.announced and not self._stop.is_set():
                code = client.loop(0.1)
                attempt.check(code, timed_out=time.monotonic() > deadline)
        except BaseException:
            client.disconnect()
            _close(client)
            raise
        self._client = client
        self.connections += 1
        self.last_error = ""
        self.connected.set()
        _LOG.info(
            "connected to %s, subscribed to %s",
            self.server.name,
            ", ".join(self.server.topics),
            extra={"server": self.server.name},
        )
        return client

    def _serve(self, client: mqtt.Client) -> None:
        """Read until the connection ends."""
        while True:
            code = client.loop(_LOOP_TIMEOUT)
            if code != mqtt.MQTT_ERR_SUCCESS:
                if code != mqtt.MQTT_ERR_NO_CONN or not self._stop.is_set():
                    self.last_error = mqtt.error_string(code)
                _close(client)
                return

    # ------------------------------------------------------------------ used by _Attempt

    def will(self) -> tuple[str, bytes, int, bool] | None:
        """The will of a new connection; None for a passive host."""
        if self._state is None:
            return None
        with self._state_lock:
            will = self._state.connect(_now_ms())
        self._remember_timestamp()
        return will.topic, will.payload, will.qos, will.retain

    def announce(self, client: mqtt.Client) -> None:
        """Publish the birth (host-topic-phid-birth-message)."""
        if self._state is None:
            return
        with self._state_lock:
            birth = self._state.birth()
        client.publish(birth.topic, birth.payload, qos=birth.qos, retain=birth.retain)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Own STATE and the namespace (message-flow-phid-sparkplug-subscription)."""
        own = [(self._state.topic, SUBSCRIBE_QOS)] if self._state is not None else []
        return own + [(topic, SUBSCRIBE_QOS) for topic in self.server.topics]

    def receive(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        """One message from the socket. Never raises: that would end the connection."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._count_refused("bad_topic")
            return
        payload = bytes(message.payload)
        state = self._state
        if state is not None and topic == state.topic:
            with self._state_lock:
                answer = state.received(payload)
            if answer is not None and not self._stop.is_set():
                client.publish(answer.topic, answer.payload, qos=answer.qos, retain=answer.retain)
        received = Message(topic, payload, time.time_ns() // 1000, message.retain)
        if not self._inbox.put(self._index, received):
            self._count_refused("queue_full")

    @property
    def client_id(self) -> str:
        """MQTT client id, the same over restarts."""
        return self._client_id

    # ------------------------------------------------------------------ bookkeeping

    def _remembered_client_id(self) -> str:
        key = f"client_id/{self.server.name}"
        known = self._spool.get_state(key)
        if isinstance(known, str) and known:
            return known
        fresh = f"sparkplug-zerobus-{secrets.token_hex(4)}"
        self._spool.set_state(key, fresh)
        return fresh

    def _remember_timestamp(self) -> None:
        if self._state is not None:
            self._spool.set_state(self._timestamp_key, self._state.last_timestamp_ms)


class _Attempt:
    """A fresh paho client, and how far its handshake came."""

    def __init__(self, connection: BrokerConnection) -> None:
        server = connection.server
        self._connection = connection
        self.announced = False
        self.problem = ""
        is_5 = server.protocol == "5"
        self.client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=connection.client_id,
            # MQTT 5 starts clean by a flag of CONNECT, which a new client object sets.
            clean_session=None if is_5 else True,
            protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if server.username or server.password.get_secret_value():
            client.username_pw_set(
                server.username or None, server.password.get_secret_value() or None
            )
        if server.uses_tls:
            client.tls_set(
                ca_certs=server.tls.ca_file or None,
                certfile=server.tls.cert_file or None,
                keyfile=server.tls.key_file or None,
            )
        will = connection.will()
        if will is not None:
            client.will_set(will[0], will[1], qos=will[2], retain=will[3])
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def check(self, code: MQTTErrorCode, *, timed_out: bool) -> None:
        """Raise what went wrong so far.

        Raises:
            BrokerError: a refusal, the end of the connection, or the time is over.
        """
        if self.problem:
            raise BrokerError(self.problem)
        if code != mqtt.MQTT_ERR_SUCCESS:
            raise BrokerError(mqtt.error_string(code))
        if timed_out:
            raise BrokerError("the server did not answer CONNECT or SUBSCRIBE in time")

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            text = str(code)
            hint = _REFUSALS.get(text)
            self.problem = f"refused: {text}" + (f"; {hint}" if hint else "")
            return
        client.subscribe(self._connection.subscriptions())

    def _on_subscribe(
        self, client: mqtt.Client, _userdata: Any, _mid: int, codes: Any, _properties: Any
    ) -> None:
        filters = self._connection.subscriptions()
        refused = [
            f"{topic} ({code})"
            for (topic, _), code in zip(filters, codes, strict=False)
            if code.value >= _FAILURE
        ]
        if refused:
            self.problem = (
                f"subscription refused: {', '.join(refused)}; "
                "check the server's access rules for this user"
            )
            return
        self._connection.announce(client)
        self.announced = True

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._connection.receive(client, message)


def _close(client: mqtt.Client) -> None:
    """Give up the socket even when the server is gone."""
    socket = client.socket()
    if socket is not None:
        socket.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
