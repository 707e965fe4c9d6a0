"""docs/decoding.md, one message and one metric at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oracle.event_id import event_id, identity
from oracle.forms import read_payload
from oracle.template import expand
from oracle.values import (
    LAST_MILLISECOND,
    NOT_SCALAR,
    TYPE_CONVERSION_CODE,
    datatype_name,
    metric_value,
    quality_code,
    quality_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric, Payload

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

NODE_MESSAGES = {"NBIRTH", "NDATA", "NDEATH", "NCMD"}
DEVICE_MESSAGES = {"DBIRTH", "DDATA", "DDEATH", "DCMD"}
COMMANDS = {"NCMD", "DCMD"}
LONGEST_NAME = 4096
LARGEST_PAYLOAD = 16 * 1024 * 1024


@dataclass
class Arrival:
    """One MQTT message as it was received; the time in microseconds since 1970 UTC."""

    topic: str
    payload: bytes
    received_at_us: int
    retained: bool = False
    server: str = "local"


@dataclass(frozen=True)
class Topic:
    group: str
    verb: str
    node: str
    device: str | None


@dataclass(eq=False)
class Declared:
    """A tag: one metric of one node or device with one datatype, as long as births repeat it."""

    device: str | None
    name: str
    datatype: int
    is_stale: bool = False
    last_id: str = ""  # event_id of its last row


@dataclass
class Scope:
    """The metrics one birth declared: those of the node itself, or of one device."""

    born: int  # grows with every birth
    names: dict[str, Declared] = field(default_factory=dict)
    tags: list[Declared] = field(default_factory=list)
    aliases: dict[int, Declared] = field(default_factory=dict)


@dataclass
class Node:
    """An edge node, as one server delivers it."""

    scopes: dict[str | None, Scope] = field(default_factory=dict)
    declared_before: dict[str | None, dict[str, Declared]] = field(default_factory=dict)
    expected_seq: int = 0
    bd_seq: int | None = None
    is_ignition: bool = False

    @property
    def is_born(self) -> bool:
        return None in self.scopes

    def by_alias(self, alias: int, device: str | None) -> Declared | None:
        """First in the message's own scope, then in the one that was born last."""
        own = self.scopes[device]
        if alias in own.aliases:
            return own.aliases[alias]
        for scope in sorted(self.scopes.values(), key=lambda scope: scope.born, reverse=True):
            if alias in scope.aliases:
                return scope.aliases[alias]
        return None


def parse_topic(topic: str) -> Topic | str | None:
    """The parts of a topic; the name of the reason to count it under; None for STATE."""
    levels = topic.split("/")
    if levels[0] != "spBv1.0" or any(not level or set(level) & set("+#") for level in levels):
        return "bad_topic"
    if len(levels) == 3 and levels[1] == "STATE":
        return None
    if len(levels) not in {4, 5}:
        return "bad_topic"
    _, group, verb, node, *rest = levels
    if verb not in NODE_MESSAGES | DEVICE_MESSAGES:
        return "unknown_verb"
    if (verb in DEVICE_MESSAGES) != bool(rest):
        return "bad_topic"
    return Topic(group, verb, node, rest[0] if rest else None)


def time_us(milliseconds: int) -> int | None:
    """Microseconds, or None after the year 9999."""
    return milliseconds * 1000 if milliseconds <= LAST_MILLISECOND else None


def integer_of(metric: Metric) -> int | None:
    if metric.is_null:
        return None
    if metric.HasField("int_value"):
        return metric.int_value
    if metric.HasField("long_value"):
        return metric.long_value
    return None


def datatype_code(code: int) -> int:
    """Codes beyond the specification's list are all the same: Unknown."""
    return code if code <= 34 else 0


def is_control(name: str) -> bool:
    return name == "bdSeq" or name.startswith(("Node Control/", "Device Control/"))


class Oracle:
    """Decodes arrivals in order; state is kept from one `feed` to the next.

    Attributes:
        rows: tag_events rows, every column by name, times as integer microseconds.
        counts: how often each reason of docs/decoding.md occurred.
        repeated: birth values that were their tag's last row already.
        rebirth_requests: (group, edge node, reason) of every request the rules
            call for, in order, not debounced.
    """

    def __init__(
        self,
        site: str = "",
        tag_path: str = "[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}",
        source: str = "{group_id}/{edge_node_id}",
        emit_transient: bool = False,
    ) -> None:
        self.site = site
        self.tag_path = tag_path
        self.source = source
        self.emit_transient = emit_transient
        self.rows: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self.rebirth_requests: list[tuple[str, str, str]] = []
        self._nodes: dict[tuple[str, str, str], Node] = {}
        self._births = itertools.count()

    def feed(self, arrivals: Iterable[Arrival]) -> None:
        """Decode messages in the order of their arrival."""
        for arrival in arrivals:
            self._message(arrival)

    def _message(self, arrival: Arrival) -> None:  # noqa: C901 - the table of the page
        topic = parse_topic(arrival.topic)
        if topic is None:
            self.counts["host_state"] += 1
            return
        if isinstance(topic, str):
            self.counts[topic] += 1
            return
        if topic.verb in COMMANDS:
            self.counts["command"] += 1
            return
        for reason, applies in (
            ("retained", arrival.retained),
            ("too_large", len(arrival.payload) > LARGEST_PAYLOAD),
        ):
            if applies:
                self.counts[reason] += 1
                if reason == "too_large":
                    self._lost_birth(topic, arrival)
                return
        payload, problem = read_payload(arrival.payload)
        if problem == "bad_payload":
            self._ask_rebirth(topic, problem)
        elif problem is not None:
            self.counts[problem] += 1
        if payload is not None:
            self._payload(topic, payload, arrival, unread=problem is not None)
        if problem is not None:
            self._lost_birth(topic, arrival)

    def _lost_birth(self, topic: Topic, arrival: Arrival) -> None:
        """After a birth that cannot be read the aliases may mean something else."""
        node = self._nodes.get((arrival.server, topic.group, topic.node))
        if node is not None and topic.verb == "NBIRTH":
            node.scopes.clear()
        elif node is not None and topic.verb == "DBIRTH":
            node.scopes.pop(topic.device, None)

    def _payload(self, topic: Topic, payload: Payload, arrival: Arrival, *, unread: bool) -> None:
        """A payload; of one that is `unread` only the seq is believed."""
        node = self._nodes.setdefault((arrival.server, topic.group, topic.node), Node())
        if topic.verb == "NDEATH":
            self._node_death(node, topic, payload, arrival)
        elif topic.verb == "NBIRTH":
            if not unread:
                self._node_birth(node, topic, payload, arrival)
        elif not node.is_born:
            self._ask_rebirth(topic, "data_before_birth")
        else:
            self._sequenced(node, topic, payload, arrival, unread=unread)

    def _ask_rebirth(self, topic: Topic, reason: str) -> None:
        self.counts[reason] += 1
        self.rebirth_requests.append((topic.group, topic.node, reason))

    def _node_death(self, node: Node, topic: Topic, payload: Payload, arrival: Arrival) -> None:
        """End the session the death belongs to; a death without bdSeq is believed."""
        if not node.is_born:
            self.counts["death_of_other_session"] += 1
            return
        died = None
        only = len(payload.metrics) == 1
        for metric in payload.metrics:
            if metric.name == "bdSeq" or (only and not metric.name):
                died = integer_of(metric)
        if died is None or node.bd_seq is None or died == node.bd_seq:
            for scope in node.scopes.values():
                self._stale(scope, topic, payload, arrival, arrival.received_at_us)
            node.scopes.clear()
        else:
            self.counts["death_of_other_session"] += 1

    def _stale(
        self, scope: Scope, topic: Topic, payload: Payload, arrival: Arrival, died_at: int
    ) -> None:
        """A row without value for every tag of a node or device that died."""
        values = dict.fromkeys(("numeric_value", "integer_value", "string_value", "boolean_value"))
        sent_at = time_us(payload.timestamp) if payload.HasField("timestamp") else None
        for tag in scope.tags:
            if not is_control(tag.name) and tag.datatype not in NOT_SCALAR:
                tag.is_stale = True
                state = (values, died_at, 500, "STALE", False)
                self._row(tag, state, topic, payload, sent_at, arrival)

    def _node_birth(self, node: Node, topic: Topic, payload: Payload, arrival: Arrival) -> None:
        node.scopes.clear()
        node.expected_seq = (payload.seq + 1) % 256
        node.bd_seq = None
        node.is_ignition = False
        for metric in payload.metrics:
            if metric.name == "bdSeq":
                node.bd_seq = integer_of(metric)
            if metric.name == "Node Info/Transmission Version":
                node.is_ignition = True
        self._birth(node, topic, payload, arrival)

    def _sequenced(
        self, node: Node, topic: Topic, payload: Payload, arrival: Arrival, *, unread: bool
    ) -> None:
        # An absent seq reads as 0: encoders that drop zeros leave it out.
        if payload.seq != node.expected_seq:
            self._ask_rebirth(topic, "sequence_gap")
        node.expected_seq = (payload.seq + 1) % 256
        if topic.verb == "DBIRTH":
            if not unread:
                self._birth(node, topic, payload, arrival)
        elif topic.device not in node.scopes:
            self._ask_rebirth(topic, "device_data_before_birth")
        elif topic.verb == "DDEATH":
            sent_at = time_us(payload.timestamp) if payload.HasField("timestamp") else None
            died_at = arrival.received_at_us if sent_at is None else sent_at
            self._stale(node.scopes.pop(topic.device), topic, payload, arrival, died_at)
        elif not unread:
            self._data(node, topic, payload, arrival)

    def _birth(self, node: Node, topic: Topic, payload: Payload, arrival: Arrival) -> None:
        scope = node.scopes[topic.device] = Scope(next(self._births))
        before = node.declared_before.get(topic.device, {})
        stale = {name for name, declared in before.items() if declared.is_stale}
        fresh: dict[tuple[str, int], Declared] = {}
        sent_at = self._payload_time(payload)
        for metric in payload.metrics:
            if not metric.name or len(metric.name) > LONGEST_NAME:
                self.counts["metric_without_name"] += 1
                continue
            declared = before.get(metric.name)
            if declared is None or declared.datatype != datatype_code(metric.datatype):
                key = (metric.name, datatype_code(metric.datatype))
                declared = Declared(topic.device, *key, is_stale=metric.name in stale)
                declared = fresh.setdefault(key, declared)
            if declared not in scope.tags:
                scope.tags.append(declared)
            scope.names[metric.name] = declared
            if metric.HasField("alias"):
                scope.aliases[metric.alias] = declared
            self._metric(node, declared, metric, topic, payload, sent_at, arrival)
        node.declared_before[topic.device] = scope.names

    def _data(self, node: Node, topic: Topic, payload: Payload, arrival: Arrival) -> None:
        sent_at = self._payload_time(payload)
        for metric in payload.metrics:
            if metric.name:
                declared = node.scopes[topic.device].names.get(metric.name)
                reason = "unknown_metric"
            else:
                declared = None
                if metric.HasField("alias"):
                    declared = node.by_alias(metric.alias, topic.device)
                reason = "unknown_alias"
            if declared is None:
                self._ask_rebirth(topic, reason)
                continue
            self._metric(node, declared, metric, topic, payload, sent_at, arrival)

    def _payload_time(self, payload: Payload) -> int | None:
        if not payload.HasField("timestamp"):
            return None
        sent_at = time_us(payload.timestamp)
        if sent_at is None:
            self.counts["timestamp_out_of_range"] += 1
        return sent_at

    def _metric(  # noqa: PLR0917 - everything a row is made of
        self,
        node: Node,
        declared: Declared,
        metric: Metric,
        topic: Topic,
        payload: Payload,
        sent_at: int | None,
        arrival: Arrival,
    ) -> None:
        if is_control(declared.name):
            return
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
            event_time = sent_at
        if event_time is None:
            event_time = arrival.received_at_us
        self.counts.update(reasons)
        if declared.is_stale and topic.verb in ("NBIRTH", "DBIRTH"):
            event_time = max(event_time, arrival.received_at_us if sent_at is None else sent_at)
            declared.is_stale = False
        state = (values, event_time, code, quality, metric.is_historical)
        self._row(declared, state, topic, payload, sent_at, arrival)

    def _row(  # noqa: PLR0917 - everything a row is made of
        self,
        declared: Declared,
        state: tuple[dict[str, Any], int, int, str, bool],
        topic: Topic,
        payload: Payload,
        sent_at: int | None,
        arrival: Arrival,
    ) -> None:
        values, event_time, code, quality, is_historical = state
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
        if topic.verb in ("NBIRTH", "DBIRTH") and identifier == declared.last_id:
            self.repeated += 1
            return
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
            "payload_timestamp": sent_at,
            "ingestion_timestamp": arrival.received_at_us,
            "arrival_number": len(self.rows) + 1,
        }
        assert tuple(row) == COLUMNS
        self.rows.append(row)
