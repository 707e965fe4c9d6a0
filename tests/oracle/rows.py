"""docs/decoding.md from "The value" on: one metric, one row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from oracle.arrivals import BIRTHS, Arrival, Message, Topic, time_us
from oracle.event_id import event_id, identity
from oracle.filters import seen
from oracle.node import DAY_US
from oracle.template import expand
from oracle.templates import DECLARED_ONLY
from oracle.values import (
    NO_VALUE,
    NOT_SCALAR,
    TEMPLATE,
    TYPE_CONVERSION_CODE,
    datatype_name,
    metric_value,
    quality_code,
    quality_name,
)
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.node import Declared, Node, Scope
    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric

COLUMNS = (
    "event_id",
    "event_time",
    "tag_path",
    "tag_provider",
    "numeric_value",
    "integer_value",
    "string_value",
    "boolean_value",
    "quality",
    "quality_code",
    "data_type",
    "source_system_id",
    "group_id",
    "edge_node_id",
    "device_id",
    "metric_name",
    "message_type",
    "is_historical",
    "seq",
    "payload_timestamp",
    "ingestion_timestamp",
    "arrival_number",
)


def is_control(name: str) -> bool:
    return name == "bdSeq" or name.startswith(("Node Control/", "Device Control/"))


def gives_rows(tag: Declared) -> bool:
    return not is_control(tag.name) and tag.datatype not in NOT_SCALAR


class Rows:
    """The rows, and what is counted while they are made.

    Attributes:
        rows: tag_events rows, every column by name, times as integer microseconds.
        arrived: how many messages have arrived.
        order: for each row, which of all arrivals it is from, and how many had arrived
            when it was read.
        counts: how often each reason of docs/decoding.md occurred.
        repeated: birth values that were their tag's last present row already.
        rebirth_requests: (group, edge node, reason) of every request the rules
            call for, in order, not debounced.
    """

    def __init__(
        self,
        site: str = "",
        tag_path: str = "[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}",
        source: str = "{group_id}/{edge_node_id}",
        emit_transient: bool = False,
        filters: tuple[str, ...] = ("spBv1.0/#",),
    ) -> None:
        self.site = site
        self.tag_path = tag_path
        self.source = source
        self.emit_transient = emit_transient
        self.filters = filters
        self.rows: list[dict[str, Any]] = []
        self.arrived = 0
        self.order: list[tuple[int, int]] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self.rebirth_requests: list[tuple[str, str, str]] = []

    def ask_rebirth(self, message: Message, reason: str) -> None:
        """Count the reason, and request a rebirth for it."""
        self.counts[reason] += 1
        self.request(message.topic.group, message.topic.node, reason)

    def request(self, group: str, node: str, reason: str) -> None:
        _, some = seen(self.filters, group, node)
        if "NBIRTH" not in some or (reason == "device_data_before_birth" and "DBIRTH" not in some):
            return
        self.rebirth_requests.append((group, node, reason))

    def stale(self, scope: Scope, message: Message, died_at: int) -> None:
        """A row without value for every tag of a node or device that died."""
        died_at = scope.behind_all_values(died_at, message.arrival.received_at_us)
        for tag in scope.tags:
            if gives_rows(tag):
                tag.is_stale = True
                self._row(tag, (NO_VALUE, died_at, 500, "STALE", False), message)

    def said_by_host(
        self, node: Node, server: str, scope: Scope, tags: Iterable[Declared], said_at: int
    ) -> None:
        """A row without value, and of no message, for every tag that is not STALE yet."""
        died_at = scope.behind_all_values(said_at, said_at)
        for tag in tags:
            if gives_rows(tag) and not tag.is_stale:
                topic = Topic(node.group, "HOST", node.name, tag.device)
                arrival = Arrival("", b"", said_at, server=server)
                said = Message(arrival, topic, Payload(), number=self.arrived)
                self._row(tag, (NO_VALUE, died_at, 500, "STALE", False), said)
                tag.is_stale = True

    def metric(
        self,
        node: Node,
        declared: Declared,
        metric: Metric,
        message: Message,
        *,
        is_birth: bool = False,
        is_late: bool = False,
    ) -> None:
        """The row of one metric that was found in a birth, unless it gives none."""
        if is_control(declared.name) or metric.extension_value == DECLARED_ONLY:
            return
        if declared.datatype == TEMPLATE:
            return  # its leaves are metrics of their own
        if metric.is_transient and not self.emit_transient:
            self.counts["transient"] += 1
            return
        if declared.datatype in NOT_SCALAR:
            self.counts["datatype_not_supported"] += 1
            return
        values, reasons = metric_value(declared.datatype, metric)
        if "value_does_not_fit" in reasons:
            code, quality = TYPE_CONVERSION_CODE, "BAD"
        else:
            code = quality_code(metric.properties)
            quality = quality_name(code, ignition=node.is_ignition)
        event_time = time_us(metric.timestamp) if metric.HasField("timestamp") else None
        if metric.HasField("timestamp") and event_time is None:
            reasons.append("timestamp_out_of_range")
        if event_time is None:
            event_time = message.sent_or_come
        self.counts.update(reasons)
        is_historical = metric.is_historical or (is_late and declared.is_newer_than(event_time))
        self._value_read(node, declared, event_time, message, is_historical=is_historical)
        if is_birth and declared.is_stale:
            declared.is_stale, declared.last_id = False, ""
        state = (values, event_time, code, quality, is_historical)
        self._row(declared, state, message)

    @staticmethod
    def _value_read(
        node: Node, declared: Declared, event_time: int, message: Message, *, is_historical: bool
    ) -> None:
        """Note the time of a value, for those that come late, and for the death."""
        if event_time <= message.arrival.received_at_us + DAY_US:
            scope = node.scopes[declared.device]
            scope.greatest = max(scope.greatest, event_time)
        if not is_historical:
            declared.read_at = event_time

    def _row(
        self,
        declared: Declared,
        state: tuple[dict[str, Any], int, int, str, bool],
        message: Message,
    ) -> None:
        values, event_time, code, quality, is_historical = state
        topic, payload, arrival = message.topic, message.payload, message.arrival
        levels = {
            "site": self.site,
            "server": arrival.server,
            "group_id": topic.group,
            "edge_node_id": topic.node,
            "device_id": declared.device,
            "metric": declared.name,
        }
        path, provider = expand(self.tag_path, levels)
        source, _ = expand(self.source, levels)
        tag = identity(self.site, topic.group, topic.node, declared.device, declared.name)
        identifier = event_id(tag, event_time, values, code)
        if topic.verb in BIRTHS and identifier == declared.last_id:
            self.repeated += 1
            return
        if not is_historical:
            declared.last_id = identifier
        row = {
            "event_id": identifier,
            "event_time": event_time,
            "tag_path": path,
            "tag_provider": provider,
            **values,
            "quality": quality,
            "quality_code": code,
            "data_type": datatype_name(declared.datatype),
            "source_system_id": source,
            "group_id": topic.group,
            "edge_node_id": topic.node,
            "device_id": declared.device,
            "metric_name": declared.name,
            "message_type": topic.verb,
            "is_historical": is_historical,
            # The column is a 32 bit INT; what is larger is no seq.
            "seq": payload.seq if payload.HasField("seq") and payload.seq < 2**31 else None,
            "payload_timestamp": message.sent_at,
            "ingestion_timestamp": arrival.received_at_us,
            "arrival_number": len(self.rows) + 1,
        }
        assert tuple(row) == COLUMNS
        self.rows.append(row)
        self.order.append((message.number, self.arrived))
