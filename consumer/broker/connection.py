"""One MQTT connection as a Sparkplug host application: sockets, and nothing else.

Every connection is a new paho client, because a client that reconnects by itself would
present its old will again, whose timestamp edge nodes then ignore. The order of packets
is the specification's (5.2 and 5.3): CONNECT with the will, SUBSCRIBE, and after its
acknowledgement the birth as the first publish. Whoever leaves on purpose says first that
the host is offline.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as mqtt
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from consumer.broker.drops import DROPPED_TOPIC, BrokerDrops
from consumer.broker.handshake import (
    LOOP_TIMEOUT,
    Handshake,
    Subscriptions,
    WantedFilter,
    disconnect,
    read_until,
    say,
)
from consumer.broker.inbox import HURRY_SECONDS
from consumer.broker.own_state import OwnState
from consumer.broker.switch import ConnectionSwitch
from consumer.errors import SpoolFull
from consumer.log_budget import LogBudget
from sparkplug import CERTIFICATE_PREFIX, COMMAND_QOS, Message, OwnTimestamps, rebirth_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.broker.inbox import Inbox
    from consumer.broker.own_state import Memory
    from consumer.broker.publish_cutter import Run
    from consumer.config import Server
    from sparkplug import Publish

_LOG = logging.getLogger(__name__)

SUBSCRIBE_QOS: Final = 1
"""The NDEATH will is QoS 1, all else QoS 0 (payloads-ndeath-will-message-qos)."""

_KEEPALIVE: Final = 30
_HANDSHAKE_TIMEOUT: Final = 15.0
_LONGEST_PAUSE: Final = 30.0
_DISPLACED_PAUSE: Final = 60.0
_SHORT_LIFE: Final = 300.0
"""Seconds: a connection that displaced another host and ends within them has a long pause."""

_LEAVE_TIMEOUT: Final = 3.0
_LAST_DATA: Final = 0.25
_LONGEST_LEAVE: Final = 2 * _LEAVE_TIMEOUT + _LAST_DATA + 1.0
"""Seconds: offline STATE, the last data, and DISCONNECT, each on a slow connection."""
_LONGEST_DRAIN: Final = 5
_LONGEST_WAIT: Final = 0.25
"""Seconds until it is seen what others ask of a connection on which nothing comes."""
_BETWEEN_READS: Final = 0.005
"""Seconds between reads that gave something: so each of them gives much, and costs once."""
_FEW: Final = 2
_BETWEEN_FEW: Final = 0.04
"""Seconds after a read that brought at most `_FEW` messages: a read costs as much as many."""


class BrokerConnection:
    """Keeps one server connected, on a thread of its own, until stopped.

    That thread alone uses the paho client; others ask it to stop or to publish, and shut
    and open its `switch`: while that is shut there is no connection.

    Args:
        index: position of the server in the configuration; marks its messages.
        server: its configuration.
        host_id: the host application's id; None for a passive host, which never publishes.
        inbox: where messages go; it counts those that it refuses.
        memory: keeps the client id and the last STATE timestamps over restarts.
        count_refused: called with a reason, and how many messages went not even there for it.
        own_births: timestamps of this host's births, shared by its connections.
        budget: says how often it is logged what clients with our id, or a server, do to us.

    Attributes:
        connected: set while there is a connection.
        connections: how many there were so far.
        last_error: why the last one ended, or could not be made.
        failure: what the last attempt to make one raised; None if it was made.
    """

    def __init__(
        self,
        index: int,
        server: Server,
        *,
        host_id: str | None,
        inbox: Inbox,
        memory: Memory,
        count_refused: Callable[[str, int], None],
        own_births: OwnTimestamps | None = None,
        budget: LogBudget | None = None,
    ) -> None:
        self.server = server
        self.connected = threading.Event()
        self.connections = 0
        self.last_error = ""
        self.failure: BaseException | None = None
        self._budget = budget or LogBudget()
        self.drops = BrokerDrops(server.name, self._budget)
        self.switch = ConnectionSwitch()
        self._index = index
        self._inbox = inbox
        self._memory = memory
        self._count_refused = count_refused
        own = OwnTimestamps() if own_births is None else own_births
        self.own_state = OwnState(host_id, server.name, memory, own, budget=self._budget)
        self._client_id = server.client_id or self._remembered_client_id()
        self._requests: deque[tuple[str, bytes]] = deque()
        self._renewing = False
        self._certificates = True  # whether to ask for what not every server has
        self._received = 0
        self._heard = False  # whether the present connection was made, or delivered something
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{server.name}", daemon=True)

    def start(self) -> None:
        """Connect in the background and stay connected."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the thread to publish the offline STATE, take the last messages in, and leave."""
        self.switch.stop()

    def join(self, timeout: float = _LONGEST_LEAVE) -> None:
        """Wait until the thread has ended, at most `timeout` seconds: for what it still brings."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            _LOG.warning("%s was not left in time", self.server.name)

    def request_rebirth(self, group_id: str, edge_node_id: str) -> bool:
        """Publish a rebirth request; False if there is no connection, or we never publish."""
        if not self.own_state.is_active or not self.connected.is_set():
            return False
        self._requests.append(rebirth_command(group_id, edge_node_id, _now_ms()))
        return True

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while self.switch.wait():
            made = self._connect_with_patience()
            if made is None:
                continue
            made_at = time.monotonic()
            try:
                self._serve(made)
            except Exception as error:  # noqa: BLE001 - a full disk, a defect: connect again
                self.last_error = f"{type(error).__name__}: {error}"
            finally:
                self.connected.clear()
                self._requests.clear()
                _close(made.client)
                self.own_state.lost()
            if self.switch.stopping.is_set():
                return
            self._tell_lost()
            if not self.switch.barred.is_set():
                if self._may_log("connection_ended"):
                    _LOG.warning(
                        "connection to %s ended: %s",
                        self.server.name,
                        self.last_error or "closed by the server",
                        extra={"server": self.server.name},
                    )
                if not self._renewing:
                    self.switch.barred.wait(self._pause(time.monotonic() - made_at))

    def _pause(self, lasted: float) -> float:
        """Seconds before the next connection, after one that lasted so long.

        Two clients with one id would throw each other out without pause, and two hosts would
        be offline and online to all edge nodes each time.
        """
        if not self.own_state.displaced or lasted > _SHORT_LIFE:
            return 1.0 + random.random()  # noqa: S311 - jitter
        pause = _DISPLACED_PAUSE * (1.0 + random.random())  # noqa: S311 - jitter
        if self._may_log("connection_displaced"):
            _LOG.warning(
                "%s: another host application with this host.id takes the connection over and "
                "over, so it has this client id, too (%s): connecting again in %d s; give one of "
                "them another host.id and client_id, and no copy of the other's spool",
                self.server.name,
                self._client_id,
                pause,
                extra={"server": self.server.name},
            )
        return pause

    def _connect_with_patience(self) -> Handshake | None:
        """A connection that is made and announced; None once the switch is barred."""
        retrying = Retrying(
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
            sleep=sleep_using_event(self.switch.barred),
            stop=stop_when_event_set(self.switch.barred),
            retry=retry_if_exception_type(Exception),
            before_sleep=self._log_attempt,
            retry_error_callback=lambda _: None,
        )
        made: Handshake | None = retrying(self._connect)
        return made

    def _log_attempt(self, state: RetryCallState) -> None:
        self.failure = state.outcome.exception() if state.outcome else None
        self.last_error = str(self.failure or "")
        worth = state.attempt_number in (1, 2, 4, 8) or state.attempt_number % 16 == 0
        if worth and self._may_log("cannot_connect"):
            _LOG.warning(
                "cannot connect to %s (%s), attempt %d: %s",
                self.server.name,
                self.server.url,
                state.attempt_number,
                self.last_error,
                extra={"server": self.server.name, "attempt": state.attempt_number},
            )

    def _connect(self) -> Handshake:
        """One attempt: CONNECT, SUBSCRIBE, birth.

        Raises:
            BrokerError: the server refused something, did not answer in time, or we leave.
            OSError: no connection could be made.
        """
        attempt = Handshake(
            self.server,
            self._client_id,
            will=self.own_state.will(),
            subscriptions=self._subscriptions(),
            announce=self._announce,
            receive=self._take_message,
            plain_topic=self._plain_topic,
            receive_run=self._take_run,
        )
        self.drops.connected()
        client = attempt.client
        try:
            client.connect(self.server.host, self.server.port, keepalive=_KEEPALIVE)
            deadline = time.monotonic() + _HANDSHAKE_TIMEOUT
            while not attempt.announced:
                code = client.loop(LOOP_TIMEOUT)
                time_is_up = self.switch.barred.is_set() or time.monotonic() > deadline
                attempt.check(code, time_is_up=time_is_up)
        except BaseException:
            client.disconnect()
            _close(client)
            self._tell_lost()
            if attempt.thrown_out and self._certificates:
                # Some servers end the connection of whoever asks for what they do not have.
                self._certificates = False
                _LOG.info(
                    "%s is asked for no births that it keeps, nor for what it discards",
                    self.server.name,
                    extra={"server": self.server.name},
                )
            raise
        self._heard = True
        self.connections += 1
        self.last_error = ""
        self.failure = None
        self._renewing = False
        self.connected.set()
        if _LOG.isEnabledFor(logging.INFO) and self._may_log("connected"):
            _LOG.info(
                "connected to %s, subscribed to %s",
                self.server.name,
                ", ".join(self.server.topics),
                extra={"server": self.server.name},
            )
        return attempt

    def _may_log(self, kind: str) -> bool:
        """Whether to log a line of this kind; others may end connections as often as we connect."""
        return self._budget.allows(kind, self.server.name, ours=True)

    def _tell_lost(self) -> None:
        """Tell the inbox, behind the messages that came, that those after them may be missing."""
        if self._heard:
            self._heard = False
            self._inbox.put_lost(self._index, time.time_ns() // 1000)

    def _serve(self, made: Handshake) -> None:
        """Read, and publish what is asked for, until the connection ends or we leave."""
        client = made.client
        self._inbox.hurry()
        hurried_until = time.monotonic() + HURRY_SECONDS
        while not self.switch.barred.is_set():
            before = self._received
            code = client.loop(_LONGEST_WAIT)
            if code != mqtt.MQTT_ERR_SUCCESS:
                self.last_error = made.farewell or mqtt.error_string(code)
                return
            if self._received != before and not client.has_more:
                few = self._received - before <= _FEW and time.monotonic() >= hurried_until
                time.sleep(_BETWEEN_FEW if few else _BETWEEN_READS)
            while self._requests:
                topic, payload = self._requests.popleft()
                client.publish(topic, payload, qos=COMMAND_QOS, retain=False)
            _publish(client, self.own_state.due())
            if self.own_state.must_renew():
                self._renewing = True
                self._leave(client, reading=0.0)
                self.last_error = (
                    "another application published a newer STATE of this host id; "
                    "a new connection announces this host anew"
                )
                return
        shut = not self.switch.stopping.is_set()
        self._leave(client, reading=self.switch.drain if shut else _LAST_DATA)

    def _leave(self, client: mqtt.Client, *, reading: float) -> None:
        """Publish the offline STATE, read on for so many seconds, disconnect.

        (operational-behavior-host-application-termination, -disconnect-intentional)
        Whoever disconnects on purpose has to say so, also one who comes back at once: the
        server drops the will. Edge nodes that wait for this host need a moment to see that
        it is offline; what they send meanwhile still counts.
        """
        self.connected.clear()
        offline = self.own_state.stop()
        if offline is not None:
            if not say(client, offline, time.monotonic() + _LEAVE_TIMEOUT):
                # Without DISCONNECT: the server publishes the will, which says the same.
                _LOG.warning("offline STATE was not delivered to %s", self.server.name)
                return
            self._read_on(client, reading)
        topics = [each.topic for each in self._subscriptions().all]
        disconnect(client, topics, time.monotonic() + _LEAVE_TIMEOUT)

    def _read_on(self, client: mqtt.Client, seconds: float) -> None:
        """Read what edge nodes sent before they knew.

        A stop waits for the last moment only, and so does who may stay after all.

        When they have just sent what they had stored, the server may still hold much of it:
        as long as messages come without a pause, reading goes on for some times as long.
        """
        last = min(seconds, _LAST_DATA)
        longest = time.monotonic() + _LONGEST_DRAIN * seconds
        read_until(client, lambda: self.switch.hurries, time.monotonic() + seconds - last)
        while True:
            before = self._received
            read_until(client, lambda: False, time.monotonic() + last)
            if before == self._received or self.switch.hurries or time.monotonic() > longest:
                return

    # ------------------------------------------------------------------ a new connection

    def _announce(self, client: mqtt.Client) -> None:
        """Publish the birth (host-topic-phid-birth-message)."""
        _publish(client, self.own_state.birth())

    def _subscriptions(self) -> Subscriptions:
        """Own STATE and the namespace (message-flow-phid-sparkplug-subscription).

        A server may refuse births that it keeps, and its count of drops.
        """
        own = [self.own_state.topic] if self.own_state.is_active else []
        wanted = [WantedFilter(topic, SUBSCRIBE_QOS) for topic in [*own, *self.server.topics]]
        if not self._certificates:
            return Subscriptions(wanted, [])
        kept = [CERTIFICATE_PREFIX + topic for topic in self.server.topics]
        welcome = [WantedFilter(topic, SUBSCRIBE_QOS) for topic in kept]
        return Subscriptions(wanted, [*welcome, WantedFilter(DROPPED_TOPIC, 0)])

    def _take_message(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        """One message from the socket. Never raises: that would end the connection."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._count_refused("bad_topic", 1)
            return
        if "+" in topic or "#" in topic or "\0" in topic:
            # MQTT has no such topic to publish on (3.3.2-2, 1.5.4-2), nor to ask for a rebirth on.
            self._count_refused("bad_topic", 1)
            return
        payload = bytes(message.payload)
        if topic == DROPPED_TOPIC:
            self.drops.received(payload)
            return
        if topic == self.own_state.topic:
            _publish(client, self.own_state.received(payload, retained=message.retain))
        self._heard = True
        self._received += 1
        received = Message(topic, payload, time.time_ns() // 1000, message.retain)
        self._inbox.put(self._index, received, certificate=topic.startswith(CERTIFICATE_PREFIX))

    def _plain_topic(self, raw: bytes) -> str | None:
        """The topic, if with messages on it nothing is to be done but to put them in the inbox."""
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            return None
        if (
            topic.startswith("$")
            or topic == self.own_state.topic
            or "DEATH/" in topic
            or any(character in topic for character in "+#\0")
        ):
            return None
        return topic

    def _take_run(self, run: Run) -> None:
        """Messages on plain topics. Never raises: that would end the connection."""
        self._heard = True
        self._received += len(run.topics)
        self._inbox.put_many(
            self._index,
            run.topics,
            run.payloads,
            time.time_ns() // 1000,
            retained=run.retained,
        )

    # ------------------------------------------------------------------ bookkeeping

    def _remembered_client_id(self) -> str:
        key = f"client_id/{self.server.name}"
        known = self._memory.get(key)
        if isinstance(known, str) and known:
            return known
        fresh = f"sparkplug-zerobus-{secrets.token_hex(4)}"
        with contextlib.suppress(SpoolFull):  # the next run has another one
            self._memory.set(key, fresh)
        return fresh


def _publish(client: mqtt.Client, publish: Publish | None) -> None:
    if publish is not None:
        client.publish(publish.topic, publish.payload, qos=publish.qos, retain=publish.retain)


def _close(client: mqtt.Client) -> None:
    """Give up the socket even when the server is gone."""
    socket = client.socket()
    if socket is not None:
        socket.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
