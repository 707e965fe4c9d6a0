"""What one message does when its turn has come: births, data, deaths of devices."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from oracle.holding import Holding
from oracle.node import Declared, Kind, Scope

if TYPE_CHECKING:
    from oracle.arrivals import Message
    from oracle.node import Node
    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric, Payload

LONGEST_NAME = 4096


def datatype_code(code: int) -> int:
    """Codes beyond the specification's list are all the same: Unknown."""
    return code if code <= 34 else 0


def has_usable_name(metric: Metric) -> bool:
    return bool(metric.name) and len(metric.name) <= LONGEST_NAME


def is_nameless(payload: Payload) -> bool:
    """Whether a birth has metrics, but none that has a name."""
    return bool(payload.metrics) and not any(metric.name for metric in payload.metrics)


def ambiguous_aliases(payload: Payload) -> set[int]:
    """Aliases that stand for metrics of different names."""
    names = defaultdict(set)
    for metric in payload.metrics:
        if has_usable_name(metric) and metric.HasField("alias"):
            names[metric.alias].add(metric.name)
    return {alias for alias, of in names.items() if len(of) > 1}


class Reading(Holding):
    """Reads the messages of born nodes, each when its turn has come."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._births = itertools.count()

    def read(self, node: Node, message: Message, *, settle: bool = False) -> None:
        """Read a DBIRTH, NDATA, DDATA or DDEATH; with `settle` it is held no more."""
        verb, device = message.topic.verb, message.topic.device
        if verb == "DBIRTH":
            if message.unread:
                node.scopes.pop(device, None)
            else:
                self.device_birth(node, message)
        elif device not in node.scopes:
            self.ask_rebirth(message, "device_data_before_birth")
            if verb == "DDATA":
                self.hold(node, message, "device_data_before_birth", waits_for=device)
        elif verb == "DDEATH":
            died_at = message.sent_at
            if died_at is None:
                died_at = message.arrival.received_at_us
            self.stale(node.scopes.pop(device), message, died_at)
        elif not message.unread:
            self.data(node, message, settle=settle)

    def read_late(self, node: Node, message: Message, *, settle: bool = False) -> None:
        """Read a message that others have overtaken."""
        scope = node.scopes.get(message.topic.device)
        if message.topic.verb == "DDEATH":
            born, died = scope and scope.sent_at, message.sent_at
            if scope is None or (born is not None and died is not None and born > died):
                self.counts["death_of_other_session"] += 1
            else:
                self.read(node, message)
        elif message.topic.verb == "DBIRTH" and scope is not None and not message.unread:
            self.data(node, message.with_verb("DDATA"), settle=settle, is_birth=True)
        else:
            self.read(node, message, settle=settle)

    def device_birth(self, node: Node, message: Message) -> None:
        self.birth(node, message)
        for held in self.take(node, message.topic.device):
            self.read_late(node, held.message, settle=True)

    def birth(self, node: Node, message: Message) -> None:
        """Declare the metrics of a birth, and read their values."""
        topic, payload = message.topic, message.payload
        scope = node.scopes[topic.device] = Scope(next(self._births), message.sent_at)
        before = node.declared_before.get(topic.device, {})
        stale = {name for name, declared in before.items() if declared.is_stale}
        fresh: dict[tuple[str, int], Declared] = {}
        ambiguous = ambiguous_aliases(payload)
        self.counts.update(["duplicate_alias"] * len(ambiguous))
        self._count_time(message)
        for metric in payload.metrics:
            if not has_usable_name(metric):
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
            if metric.HasField("alias") and metric.alias not in ambiguous:
                scope.aliases[metric.alias] = declared
            self.metric(node, declared, metric, message)
        node.declared_before[topic.device] = scope.names

    def data(
        self, node: Node, message: Message, *, settle: bool = False, is_birth: bool = False
    ) -> None:
        """Read values; the metrics no birth declares are held, or given up if this is settled.

        A late birth is read by its names alone: what its aliases meant is over.
        """
        device = message.topic.device
        unknown: list[Metric] = []
        reasons: list[str] = []
        self._count_time(message)
        for metric in message.payload.metrics:
            if is_birth and not has_usable_name(metric):
                self.counts["metric_without_name"] += 1
                continue
            declared = None
            if metric.name:
                declared = node.scopes[device].names.get(metric.name)
            elif metric.HasField("alias"):
                declared = node.by_alias(metric.alias, device)
            if declared is not None:
                self.metric(node, declared, metric, message)
                continue
            unknown.append(metric)
            reasons.append("unknown_metric" if metric.name else "unknown_alias")
            if not settle:
                self.ask_rebirth(message, reasons[-1])
        if unknown:
            rest = message.with_metrics(unknown)
            if settle:
                self.give_up(rest, reasons[0])
            else:
                self.hold(node, rest, reasons[0], waits_for=device, kind=Kind.METRICS)

    def _count_time(self, message: Message) -> None:
        if message.payload.HasField("timestamp") and message.sent_at is None:
            self.counts["timestamp_out_of_range"] += 1
