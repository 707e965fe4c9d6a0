"""An edge node that publishes (specification 5.4 to 5.10), without sockets and clock.

The caller connects as `connect` says, reports what happens (`connected`, `message`,
`disconnected`) and performs the actions that come back, in order. All times are
milliseconds since 1970 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from sparkplug import state_message, topics
from sparkplug.actions import Action, Connect, Disconnect, Publish, Subscription
from sparkplug.edge.commands import CommandError, command_value
from sparkplug.edge.encoding import SignedEncoding, wire_value
from sparkplug.edge.messages import EdgeMessages, Wire
from sparkplug.edge.store import HistoryStore
from sparkplug.edge.tags import EdgeTags
from sparkplug.edge.templates import Instances
from sparkplug.names import REBIRTH, SEQ_MODULUS
from sparkplug.pb import sparkplug_b_pb2 as pb
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sparkplug.actions import Scalar
    from sparkplug.edge.encoding import Metric
    from sparkplug.edge.tags import Device

_SUBSCRIBE_QOS: Final = 1


class Update(NamedTuple):
    """A new value of one metric, acquired at `timestamp_ms`, milliseconds since 1970 UTC.

    `quality` is the raw signed 32-bit code of the Quality property; None is not sent and means
    good.
    """

    name: str
    value: Scalar
    timestamp_ms: int
    quality: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeNodeOptions:
    """How an edge node writes and behaves."""

    aliases: bool = True
    """Data names its metrics by alias. Otherwise by name."""
    datatype_in_data: bool = False
    """Data repeats the datatype, as Ignition does though the specification advises against."""
    signed: SignedEncoding = SignedEncoding.SIGN_EXTENDED
    primary_host_id: str | None = None
    """Publish only while this host application is online; store meanwhile."""
    block_commands: bool = False
    """Ignore all commands, rebirth requests included."""
    max_metrics_per_message: int = 1_000
    """Bound of a data message; more become several messages."""
    store_capacity: int = 100_000
    """Observations kept while nothing can be published; the oldest are dropped.

    0: all are, as by a gateway of Ignition whose history store is not armed."""
    rolling_history_ms: int = 0
    """Milliseconds before a session broke of which all that was sent is sent again; 0 is off."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Template instances by their paths, nested ones too, with the names of their templates.

    Metrics below such a path are published as members; the templates are defined in the NBIRTH.
    """


class Session(Enum):
    """Where the edge node stands with its MQTT server."""

    OFFLINE = "not connected"
    CONNECTING = "connecting, or waiting for the primary host"
    ONLINE = "births are published"


class EdgeNode:
    """One edge node with its devices.

    Births carry each metric's last value with the timestamp of that value. `seq` is
    one counter over NBIRTH, DBIRTH, NDATA, DDATA and DDEATH. Not thread-safe.

    Attributes:
        options: how it writes and behaves.
        group_id: of its topics.
        edge_node_id: of its topics.
        store: observations that wait to be published; it counts those that were lost because it
            was full, or their metric is gone.
        rebirths: rebirth requests obeyed.
        refused_commands: commands, or single metrics of them, that were not obeyed.
    """

    def __init__(
        self,
        group_id: str,
        edge_node_id: str,
        metrics: Iterable[Metric] = (),
        options: EdgeNodeOptions | None = None,
    ) -> None:
        """Define the node with the metrics of its own.

        Raises:
            ValueError: an id may not be used in a topic, or a metric cannot be written.
        """
        self.options = options = options or EdgeNodeOptions()
        wire = Wire(
            datatype_in_data=options.datatype_in_data,
            signed=options.signed,
            max_metrics=options.max_metrics_per_message,
            instances=Instances(options.instances),
        )
        self._messages = EdgeMessages(group_id, edge_node_id, wire)
        self.group_id: Final = self._messages.group_id
        self.edge_node_id: Final = self._messages.edge_node_id
        self._tags = EdgeTags(aliases=options.aliases)
        self._node = self._tags.define(None, metrics)
        self.store = HistoryStore(options.store_capacity, options.rolling_history_ms)
        self._session = Session.OFFLINE
        self._bd_seq = -1
        host_id = options.primary_host_id
        self._state_topic = None if host_id is None else state_message.state_topic(host_id)
        self._host_timestamp_ms = -1
        self.rebirths = self.refused_commands = 0

    @property
    def session(self) -> Session:
        """Where the edge node stands with its MQTT server."""
        return self._session

    @property
    def bd_seq(self) -> int:
        """The bdSeq of the present connection, or of the last; -1 before the first."""
        return self._bd_seq

    def metric(self, device_id: str | None, name: str) -> Metric:
        """A copy of a metric with its current value.

        Raises:
            UnknownMetricError: there is no such device or metric.
        """
        return replace(self._tags.tag(device_id, name).metric)

    # -- the connection

    def connect(self, now_ms: int) -> Connect:
        """Begin a connection: its will and subscriptions.

        bdSeq grows by one per connection, from 0 over 255 back to 0
        (topics-nbirth-bdseq-increment). A connection that was still thought to be
        there counts as lost.
        """
        self.disconnected()
        self._bd_seq = (self._bd_seq + 1) % SEQ_MODULUS
        self._session = Session.CONNECTING
        filters = [
            self._messages.topic(MessageType.NCMD),
            self._messages.topic(MessageType.DCMD, "+"),
        ]
        if self._state_topic is not None:
            filters.append(self._state_topic)
        return Connect(
            self._messages.node_death(self._bd_seq, now_ms),
            tuple(Subscription(each, _SUBSCRIBE_QOS) for each in filters),
        )

    def connected(self, now_ms: int) -> list[Action]:
        """All subscriptions are acknowledged: publish the births, unless a host is awaited."""
        if self._session is not Session.CONNECTING or self._state_topic is not None:
            return []
        return self._go_online(now_ms)

    def disconnected(self) -> None:
        """The connection ended. Data is stored from now on. Calling it again does nothing."""
        if self._session is Session.ONLINE:
            self.store.session_broke()
        self._session = Session.OFFLINE

    def stop(self, now_ms: int, reason: str = "stopped") -> list[Action]:
        """End the session in order: NDEATH, then DISCONNECT.

        The server does not publish the will after a DISCONNECT, hence the NDEATH
        (operational-behavior-edge-node-intentional-disconnect-ndeath).
        """
        if self._session is Session.OFFLINE:
            return []
        actions: list[Action] = []
        if self._session is Session.ONLINE:
            actions.append(self._messages.node_death(self._bd_seq, now_ms))
        self.disconnected()
        return [*actions, Disconnect(reason)]

    def message(self, topic: str, payload: bytes, now_ms: int) -> list[Action]:
        """A message arrived: a command, or the primary host's STATE. Others are ignored."""
        if topic == self._state_topic:
            return self._on_state(payload, now_ms)
        parsed = topics.parse_topic(topic)
        if (
            isinstance(parsed, Topic)
            and parsed.message_type in (MessageType.NCMD, MessageType.DCMD)
            and (parsed.group_id, parsed.edge_node_id) == (self.group_id, self.edge_node_id)
        ):
            return self._on_command(parsed.device_id, payload, now_ms)
        return []

    def sent(self, publish: Publish, now_ms: int) -> None:
        """A message was written to the connection. Needed for the rolling history only."""
        if _carries_data(publish):
            self.store.published(_device_id(publish), publish.observations, now_ms)

    def not_sent(self, publish: Publish) -> None:
        """A message could not be written: its data goes back into the store.

        A birth's values do not: the next birth has them.
        """
        if _carries_data(publish):
            self.store.give_back(_device_id(publish), publish.observations)

    # -- data

    def update(self, device_id: str | None, updates: Sequence[Update], now_ms: int) -> list[Action]:
        """New values of a device, or of the node itself (None).

        Published as DDATA or NDATA while the session is online and the device alive,
        else stored.

        Raises:
            UnknownMetricError: there is no such device or metric.
            EncodeError: a value does not fit its metric's datatype. No update is applied.
        """
        device = self._tags.device(device_id)
        tags = [self._tags.tag(device_id, update.name) for update in updates]
        for tag, update in zip(tags, updates, strict=True):
            if update.value is not None:
                wire_value(tag.metric.data_type, update.value)
        observations = []
        for tag, update in zip(tags, updates, strict=True):
            metric = tag.metric
            _, metric.value, metric.timestamp_ms, metric.quality = update
            observations.append(tag.observation())
        if self._session is Session.ONLINE and device.alive:
            return list(self._messages.data(device, observations, now_ms, historical=False))
        self.store.add(device_id, observations)
        return []

    def rebirth(self, now_ms: int) -> list[Action]:
        """NBIRTH and all DBIRTHs again, with the same bdSeq (payloads-nbirth-bdseq-repeat)."""
        return list(self._births(now_ms)) if self._session is Session.ONLINE else []

    # -- devices

    def add_device(self, device_id: str, metrics: Iterable[Metric], now_ms: int) -> list[Action]:
        """Add a device, or replace one's metrics; online it is born at once.

        Raises:
            ValueError: the id may not be used in a topic, or a metric cannot be written.
        """
        device = self._tags.define(topics.check_id(device_id, "device id"), metrics)
        return [self._messages.device_birth(device, now_ms)] if self._is_live(device) else []

    def device_died(self, device_id: str, now_ms: int) -> list[Action]:
        """The device is not there: DDEATH. Its data is stored until `device_returned`.

        Raises:
            UnknownMetricError: there is no such device.
        """
        device = self._tags.device(device_id)
        was_live = self._is_live(device)
        device.alive = False
        return [self._messages.device_death(device_id, now_ms)] if was_live else []

    def device_returned(self, device_id: str, now_ms: int) -> list[Action]:
        """The device is there again: DBIRTH, then what was stored of it.

        Raises:
            UnknownMetricError: there is no such device.
        """
        device = self._tags.device(device_id)
        if device.alive:
            return []
        device.alive = True
        if self._session is not Session.ONLINE:
            return []
        return [self._messages.device_birth(device, now_ms), *self._flush(now_ms)]

    # -- inside

    def _is_live(self, device: Device) -> bool:
        return self._session is Session.ONLINE and device.alive

    def _go_online(self, now_ms: int) -> list[Action]:
        self._session = Session.ONLINE
        return [*self._births(now_ms), *self._flush(now_ms)]

    def _births(self, now_ms: int) -> Iterator[Publish]:
        yield self._messages.node_birth(self._node, self._tags, self._bd_seq, now_ms)
        for device in self._tags:
            if device.device_id is not None and device.alive:
                yield self._messages.device_birth(device, now_ms)

    def _flush(self, now_ms: int) -> Iterator[Publish]:
        """Send the stored observations as historical data; those of a dead device wait on."""
        for device_id, observations in self.store.take().items():
            device = self._tags.device(device_id)
            if device.alive:
                known = [each for each in observations if each.name in device.tags]
                self.store.dropped += len(observations) - len(known)
                yield from self._messages.data(device, known, now_ms, historical=True)
            else:
                self.store.give_back(device_id, observations)

    def _on_state(self, payload: bytes, now_ms: int) -> list[Action]:
        """Obey the primary host's STATE (message-flow-edge-node-birth-publish-phid-*).

        A message older than the last known is ignored, whatever it says.
        """
        state = state_message.parse(payload)
        if state is None or state.timestamp_ms < self._host_timestamp_ms:
            return []
        self._host_timestamp_ms = state.timestamp_ms
        if state.online and self._session is Session.CONNECTING:
            return self._go_online(now_ms)
        if not state.online and self._session is Session.ONLINE:
            return self.stop(now_ms, "the primary host is offline")
        return []

    def _on_command(self, device_id: str | None, payload: bytes, now_ms: int) -> list[Action]:
        command = _parse(payload)
        if command is None or self._session is not Session.ONLINE or self.options.block_commands:
            self.refused_commands += 1
            return []
        rebirth = False
        updates = []
        for metric in command.metrics:
            if device_id is None and metric.name == REBIRTH and metric.boolean_value:
                rebirth = True
                continue
            update = self._write(device_id, metric, now_ms)
            if update is None:
                self.refused_commands += 1
            else:
                updates.append(update)
        actions = self.update(device_id, updates, now_ms) if updates else []
        if rebirth:
            self.rebirths += 1
            actions += self.rebirth(now_ms)
        return actions

    def _write(self, device_id: str | None, metric: pb.Metric, now_ms: int) -> Update | None:
        """The update that a command's metric asks for, None if it is not obeyed."""
        alias = metric.alias if metric.HasField("alias") else None
        tag = self._tags.living(device_id, metric.name, alias)
        if tag is None or not tag.metric.writeable:
            return None
        try:
            value = command_value(metric, tag.metric.data_type)
        except CommandError:
            return None
        # Two values of a tag at the same time would be one observation.
        return Update(tag.metric.name, value, max(now_ms, tag.metric.timestamp_ms + 1))


def _parse(payload: bytes) -> pb.Payload | None:
    command = pb.Payload()
    try:
        command.ParseFromString(payload)
    except DecodeError:
        return None
    return command


def _topic(publish: Publish) -> Topic:
    topic = topics.parse_topic(publish.topic)
    assert isinstance(topic, Topic)
    return topic


def _device_id(publish: Publish) -> str | None:
    return _topic(publish).device_id


def _carries_data(publish: Publish) -> bool:
    return bool(publish.observations) and _topic(publish).message_type in (
        MessageType.NDATA,
        MessageType.DDATA,
    )
