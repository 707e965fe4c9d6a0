"""What one message does when its turn has come: births, data, deaths of devices."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from oracle.arrivals import BIRTHS, is_after, nothing_is_missing_between
from oracle.holding import MEBIBYTE, Holding
from oracle.node import Declared, Scope, Trust, Unborn
from oracle.rows import gives_rows, is_control
from oracle.templates import TemplateReader, is_definition
from oracle.values import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oracle.arrivals import Message
    from oracle.node import Held, Node
    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric, Payload

LONGEST_NAME = 4096
REBORN_SECONDS = 10.0
REBORN_AT_MOST = 600.0


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
        self.heard_at = 0  # when the last message came, microseconds since 1970

    def read(self, node: Node, message: Message, *, is_late: bool = False) -> None:
        """Read a DBIRTH, NDATA, DDATA or DDEATH."""
        verb, device = message.topic.verb, message.topic.device
        if verb == "DBIRTH":
            if self.is_readable_birth(message):
                self.device_birth(node, message)
            else:
                self.ends_unheard(node, [device], message.arrival.received_at_us)
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
            scope = node.scopes[device]
            is_before = is_late and not is_after(message, scope.birth, scope.sent_at)
            self.data(node, message, is_late=is_late, is_before=is_before)

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

    def read_held(self, node: Node, held: Held, *, is_after: bool = False) -> None:
        """Read what was sent before the birth that it waited for, unless it was sent after it."""
        device = held.message.topic.device
        if held.is_whole and held.message.topic.verb == "DDEATH":
            self.counts["death_of_other_session"] += 1
        elif device not in node.scopes:
            held.waits_for = device
            self.put(node, held)
        else:
            self.remember(node, held.message)
            self.data(node, held.message, held=held, is_before=not is_after, is_late=True)

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
            explained = held.is_whole and nothing_is_missing_between(message, held.message)
            self.read_held(node, held, is_after=explained)

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
        scope.before = {} if last is None else last.aliases
        scope.birth = message
        stale = {name for name, declared in before.items() if declared.is_stale}
        if node.unborn:
            node.unborn.pop(topic.device, None)
            node.last_birth = self.now
        self._retire(node, message, payload, last)
        stale |= {name for device, name in node.retired if device == topic.device}
        node.retired -= {(topic.device, metric.name) for metric in payload.metrics}
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

    def _retire(self, node: Node, message: Message, payload: Payload, last: Scope | None) -> None:
        """The tags of the birth before that are not in this one have no value any more."""
        names = {metric.name for metric in payload.metrics if has_usable_name(metric)}
        device = message.topic.device
        if last is None:
            return
        left_out = [tag for tag in last.tags if tag.name not in names]
        node.retired |= {(device, tag.name) for tag in left_out if gives_rows(tag)}
        arrival = message.arrival
        self.said_by_host(node, arrival.server, last, left_out, arrival.received_at_us)

    def ends_unheard(self, node: Node, devices: Iterable[str | None], at_us: int | None) -> None:
        """The session of these ends without a death: None is the node itself."""
        for device in devices:
            scope = node.scopes.pop(device, None)
            if scope is not None and node.is_whole:
                if not node.unborn:
                    node.last_birth = self.now
                node.unborn.setdefault(device, Unborn(scope, self.now, at_us))

    def await_unheard(self) -> None:
        """Before every batch: for nodes that are not heard no time has passed."""
        for node in self.nodes.values():
            if node.is_born and node.trust is not Trust.CONFIRMED:
                node.last_birth = self.now
                for unborn in node.unborn.values():
                    unborn.since = self.now

    def give_up_unborn(self) -> None:
        """After every batch: who was not born again in time is not alive."""
        for (server, _, _), node in self.nodes.items():
            if node.is_born and node.trust is not Trust.CONFIRMED:
                continue
            for device, unborn in list(node.unborn.items()):
                due = max(unborn.since, node.last_birth) + REBORN_SECONDS
                if self.heard_at and min(due, unborn.since + REBORN_AT_MOST) <= self.now:
                    at_us = self.heard_at if unborn.ended_at is None else unborn.ended_at
                    self.said_by_host(node, server, unborn.scope, unborn.scope.tags, at_us)
                    del node.unborn[device]

    def data(
        self,
        node: Node,
        message: Message,
        *,
        held: Held | None = None,
        is_before: bool = False,
        is_late: bool = False,
    ) -> None:
        """Read values; the metrics no birth declares are held, or given up if they were held.

        A late birth is read by its names alone: what its aliases meant is over. `is_before`: the
        message may be from before the birth, and its aliases, too.
        """
        unknown: list[Metric] = []
        if held is None or held.is_whole:
            self._count_time(message)
        for metric in self._flat(node, message, is_before=is_before):
            if message.topic.verb in BIRTHS and not metric.name:
                continue
            declared = self._declared(node, message, metric, is_before=is_before)
            if declared is not None:
                self.metric(node, declared, metric, message, is_late=is_late)
            elif not is_control(metric.name):
                unknown.append(metric)
        if held is None:
            self._unknown(node, message, unknown, is_before=is_before)
        elif unknown:
            reason = "unknown_metric" if unknown[0].name else "unknown_alias"
            guessed = is_before and not all(metric.name for metric in unknown)
            reason = "alias_of_unseen_birth" if guessed else reason
            self.give_up(message.with_metrics(unknown), reason)

    def _unknown(
        self, node: Node, message: Message, unknown: list[Metric], *, is_before: bool
    ) -> None:
        """Hold the metrics of data that no birth declares."""
        if is_before:
            lost = [metric for metric in unknown if not metric.name]
            unknown = [metric for metric in unknown if metric.name]
            if lost:
                self.give_up(message.with_metrics(lost), "alias_of_unseen_birth")
        reasons = ["unknown_metric" if metric.name else "unknown_alias" for metric in unknown]
        for reason in reasons:
            self.ask_rebirth(message, reason)
        if unknown:
            device, part = message.topic.device, message.with_metrics(unknown)
            self.hold(node, part, reasons[0], waits_for=device, is_whole=False)

    def _flat(self, node: Node, message: Message, *, is_before: bool) -> Iterator[Metric]:
        """The metrics of data, with leaves in the place of templates."""
        is_birth = message.topic.verb in BIRTHS
        for metric in message.payload.metrics:
            declared = self._declared(node, message, metric, is_before=is_before)
            if declared is None or declared.datatype != TEMPLATE:
                yield metric
            elif not (is_birth and is_definition(metric)):
                yield from self.templates.data(
                    key_of(message), declared.device, declared.name, metric, self.counts
                )

    @staticmethod
    def _declared(
        node: Node, message: Message, metric: Metric, *, is_before: bool
    ) -> Declared | None:
        """What a metric of data is; in a birth that is read as data only names say that."""
        device = message.topic.device
        if metric.name:
            return node.scopes[device].names.get(metric.name)
        if metric.HasField("alias") and is_before:
            scope = node.scopes[device]
            declared = scope.aliases.get(metric.alias)
            return declared if scope.before.get(metric.alias) is declared else None
        if metric.HasField("alias") and message.topic.verb not in BIRTHS:
            return node.by_alias(metric.alias, device)
        return None

    def _count_time(self, message: Message) -> None:
        if message.payload.HasField("timestamp") and message.sent_at is None:
            self.counts["timestamp_out_of_range"] += 1
