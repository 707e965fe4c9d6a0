"""What one message does when its turn has come: births, data, deaths of devices."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from oracle.arrivals import BIRTHS
from oracle.holding import MEBIBYTE, Holding
from oracle.node import Declared, Scope
from oracle.templates import TemplateReader, is_definition
from oracle.values import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oracle.arrivals import Message
    from oracle.node import Held, Node
    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric, Payload

LONGEST_NAME = 4096


def key_of(message: Message) -> tuple[str, str, str]:
    """Whose definitions hold for a message."""
    return message.arrival.server, message.topic.group, message.topic.node


READ_LATELY_BYTES = 16 * MEBIBYTE


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
        self.templates = TemplateReader()
        self.batch = 0

    def read(self, node: Node, message: Message, *, is_late: bool = False) -> None:
        """Read a DBIRTH, NDATA, DDATA or DDEATH."""
        verb, device = message.topic.verb, message.topic.device
        if verb == "DBIRTH":
            if self.is_readable_birth(message):
                self.device_birth(node, message)
            else:
                node.scopes.pop(device, None)
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
            self.data(node, message, is_late=is_late)

    def read_late(self, node: Node, message: Message) -> None:
        """Read a message that others have overtaken."""
        scope = node.scopes.get(message.topic.device)
        if message.topic.verb == "DDEATH":
            born, died = scope and scope.sent_at, message.sent_at
            if scope is None or (born is not None and died is not None and born > died):
                self.counts["death_of_other_session"] += 1
            else:
                self.read(node, message)
        elif message.topic.verb == "DBIRTH" and scope is not None and not message.unread:
            self.data(node, message, is_late=True)
        else:
            self.read(node, message, is_late=True)

    def read_held(self, node: Node, held: Held) -> None:
        """Read what was sent before the birth that it waited for."""
        device = held.message.topic.device
        if held.is_whole and held.message.topic.verb == "DDEATH":
            self.counts["death_of_other_session"] += 1
        elif device not in node.scopes:
            held.waits_for = device
            self.put(node, held)
        else:
            self.remember(node, held.message)
            self.data(node, held.message, held=held, is_late=True)

    def remember(self, node: Node, message: Message) -> None:
        """Note what was read, and in which batch."""
        said = message.arrival.topic, message.seq, message.arrival.payload
        node.read_lately.append((self.batch, *said))
        while sum(len(payload) for *_, payload in node.read_lately) > READ_LATELY_BYTES:
            node.read_lately.pop(0)

    def was_read_lately(self, node: Node, message: Message) -> bool:
        """Whether the very same was read in this batch or the two before it."""
        said = message.arrival.topic, message.seq, message.arrival.payload
        return any(
            batch >= self.batch - 2 and before == list(said) for batch, *before in node.read_lately
        )

    def device_birth(self, node: Node, message: Message) -> None:
        self.birth(node, message)
        for held in self.take(node, message.topic.device):
            self.read_held(node, held)

    def is_readable_birth(self, message: Message) -> bool:
        """Whether a birth says what its metrics are."""
        if not message.unread and is_nameless(message.payload):
            self.counts["nameless_birth"] += 1
            return False
        return not message.unread

    def birth(self, node: Node, message: Message) -> None:
        """Declare the metrics of a birth, and read their values."""
        topic = message.topic
        payload = self.templates.birth(key_of(message), topic.device, message.payload, self.counts)
        scope = node.scopes[topic.device] = Scope(next(self._births), message.sent_at)
        last = node.declared_before.get(topic.device)
        before = {} if last is None else last.names
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
            self.metric(node, declared, metric, message, is_birth=True)
        node.declared_before[topic.device] = scope

    def data(
        self, node: Node, message: Message, *, held: Held | None = None, is_late: bool = False
    ) -> None:
        """Read values; the metrics no birth declares are held, or given up if they were held.

        A late birth is read by its names alone: what its aliases meant is over.
        """
        device = message.topic.device
        unknown: list[Metric] = []
        reasons: list[str] = []
        if held is None or held.is_whole:
            self._count_time(message)
        for metric in self._flat(node, message):
            if message.topic.verb in BIRTHS and not metric.name:
                continue
            declared = None
            if metric.name:
                declared = node.scopes[device].names.get(metric.name)
            elif metric.HasField("alias"):
                declared = node.by_alias(metric.alias, device)
            if declared is not None:
                self.metric(node, declared, metric, message, is_late=is_late)
                continue
            unknown.append(metric)
            reasons.append("unknown_metric" if metric.name else "unknown_alias")
            if held is None:
                self.ask_rebirth(message, reasons[-1])
        if unknown:
            rest = message.with_metrics(unknown)
            if held is not None:
                self.give_up(rest, reasons[0])
            else:
                self.hold(node, rest, reasons[0], waits_for=device, is_whole=False)

    def _flat(self, node: Node, message: Message) -> Iterator[Metric]:
        """The metrics of data, with leaves in the place of templates."""
        device, is_birth = message.topic.device, message.topic.verb in BIRTHS
        for metric in message.payload.metrics:
            declared = None
            if metric.name:
                declared = node.scopes[device].names.get(metric.name)
            elif metric.HasField("alias") and not is_birth:
                declared = node.by_alias(metric.alias, device)
            if declared is None or declared.datatype != TEMPLATE:
                yield metric
            elif not (is_birth and is_definition(metric)):
                yield from self.templates.data(
                    key_of(message), declared.device, declared.name, metric, self.counts
                )

    def _count_time(self, message: Message) -> None:
        if message.payload.HasField("timestamp") and message.sent_at is None:
            self.counts["timestamp_out_of_range"] += 1
