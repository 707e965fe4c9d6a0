"""The messages of a publishing edge node: births, data and deaths with their seq."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sparkplug import topics
from sparkplug.actions import Publish
from sparkplug.datatypes import DataType
from sparkplug.edge.encoding import (
    SignedEncoding,
    bd_seq_metric,
    death_payload,
    put_observation,
    put_properties,
)
from sparkplug.edge.templates import Instances
from sparkplug.names import REBIRTH, SEQ_MODULUS
from sparkplug.pb import sparkplug_b_pb2 as pb
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sparkplug.actions import PublishedValue
    from sparkplug.edge.tags import Device

_QOS: Final = 0
_NODE_DEATH_QOS: Final = 1  # payloads-ndeath-will-message-qos


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Options of the encoding: datatypes in data, form of negative integers, metrics at most.

    `instances` are the template instances whose members some of the metrics are.
    """

    datatype_in_data: bool
    signed: SignedEncoding
    max_metrics: int
    instances: Instances = field(default_factory=lambda: Instances({}))


class EdgeMessages:
    """Builds the messages of one edge node and counts `seq` over all but NDEATH.

    (payloads-sequence-num-incrementing, payloads-sequence-num-always-included)
    """

    def __init__(self, group_id: str, edge_node_id: str, wire: Wire) -> None:
        self.group_id = topics.check_id(group_id, "group id")
        self.edge_node_id = topics.check_id(edge_node_id, "edge node id")
        self._wire = wire
        self._seq = 0

    def topic(self, message_type: MessageType, device_id: str | None = None) -> str:
        """A topic of this edge node."""
        return str(Topic(self.group_id, message_type, self.edge_node_id, device_id))

    def node_birth(
        self, node: Device, devices: Iterable[Device], bd_seq: int, now_ms: int
    ) -> Publish:
        """NBIRTH. It starts seq anew at 0 (topics-nbirth-seq-num).

        Args:
            node: the tags of the node itself.
            devices: all devices, the node among them: templates of all are defined here.
            bd_seq: of the session.
            now_ms: milliseconds since 1970 UTC.
        """
        self._seq = 0
        payload = self._payload(now_ms)
        bd_seq_metric(payload, bd_seq, now_ms)
        # Without alias, so that a host can ask before it has seen a birth
        # (operational-behavior-data-commands-rebirth-name-aliases).
        payload.metrics.add(
            name=REBIRTH, timestamp=now_ms, datatype=DataType.Boolean, boolean_value=False
        )
        if self._wire.instances:
            payload.metrics.extend(self._wire.instances.definitions(devices))
        return self._birth(MessageType.NBIRTH, node, payload)

    def device_birth(self, device: Device, now_ms: int) -> Publish:
        """DBIRTH."""
        return self._birth(MessageType.DBIRTH, device, self._payload(now_ms))

    def node_death(self, bd_seq: int, now_ms: int) -> Publish:
        """NDEATH, as will or published; without seq (topics-ndeath-seq)."""
        payload = death_payload(bd_seq, now_ms)
        return Publish(self.topic(MessageType.NDEATH), payload, _NODE_DEATH_QOS, retain=False)

    def device_death(self, device_id: str, now_ms: int) -> Publish:
        """DDEATH: nothing but seq and timestamp (topics-ddeath-seq-num)."""
        return self._publish(MessageType.DDEATH, device_id, self._payload(now_ms))

    def data(
        self,
        device: Device,
        observations: Sequence[PublishedValue],
        now_ms: int,
        *,
        historical: bool,
    ) -> Iterator[Publish]:
        """DDATA or NDATA, as many messages as the bound of their size makes necessary."""
        message_type = MessageType.NDATA if device.device_id is None else MessageType.DDATA
        size = self._wire.max_metrics
        for start in range(0, len(observations), size):
            part = tuple(observations[start : start + size])
            payload = self._payload(now_ms)
            for observation in part:
                metric = payload.metrics.add()
                alias = device.tags[observation.name].alias
                if alias is None or self._wire.instances:  # nest gives the aliases
                    metric.name = observation.name
                else:
                    metric.alias = alias
                if historical:
                    metric.is_historical = True
                put_observation(
                    metric, observation, self._wire.signed, datatype=self._wire.datatype_in_data
                )
            if self._wire.instances:
                self._wire.instances.nest(payload, device, birth=False)
            yield self._publish(
                message_type, device.device_id, payload, part, historical=historical
            )

    def _payload(self, now_ms: int) -> pb.Payload:
        payload = pb.Payload(timestamp=now_ms, seq=self._seq)
        self._seq = (self._seq + 1) % SEQ_MODULUS
        return payload

    def _birth(self, message_type: MessageType, device: Device, payload: pb.Payload) -> Publish:
        observations = []
        for tag in device.tags.values():
            observation = tag.observation()
            metric = payload.metrics.add(name=observation.name)
            if tag.alias is not None and not self._wire.instances:
                metric.alias = tag.alias
            put_observation(metric, observation, self._wire.signed, datatype=True)
            put_properties(metric, tag.metric.properties)
            observations.append(observation)
        if self._wire.instances:
            self._wire.instances.nest(payload, device, birth=True)
        return self._publish(message_type, device.device_id, payload, tuple(observations))

    def _publish(
        self,
        message_type: MessageType,
        device_id: str | None,
        payload: pb.Payload,
        observations: tuple[PublishedValue, ...] = (),
        *,
        historical: bool = False,
    ) -> Publish:
        return Publish(
            self.topic(message_type, device_id),
            payload.SerializeToString(),
            _QOS,
            retain=False,
            observations=observations,
            historical=historical,
        )
