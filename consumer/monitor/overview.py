"""The whole picture for the API: cards, what needs attention, samples, the ledger's line."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from consumer.delivery import StreamState
from consumer.errors import SpoolError
from consumer.monitor.attention import MOST_SHOWN, Attention
from consumer.monitor.node_book import NodeBook
from consumer.monitor.samples import Samples
from consumer.monitor.shown import Level, size_text
from consumer.monitor.tag_book import TagBook
from consumer.spool import balance_of_file
from sparkplug import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.monitor.attention import Item
    from consumer.monitor.samples import Sample
    from consumer.pipeline import Consumer
    from consumer.spool import Balance

_BALANCE_SECONDS: Final = 5.0
_FRESH_SECONDS: Final = 0.5
_STATE_LEVELS: Final = {
    StreamState.OPENED: Level.OK,
    StreamState.PROBING: Level.WARNING,
    StreamState.CONNECTING: Level.WARNING,
    StreamState.BACKING_OFF: Level.WARNING,
    StreamState.BLOCKED: Level.WRONG,
    StreamState.CLOSED: Level.UNKNOWN,
}
_CARD_KINDS: Final = {
    "servers": ("server", "drill", "other_host"),
    "decode": ("failure", "queue", "duplicate", "unmended"),
    "spool": ("spool", "gate", "ledger"),
    "zerobus": ("delivery", "side_delivery", "paused"),
}


class Looking:
    """Everything that the API shows of one consumer, and what has to be looked at all the time.

    Thread-safe; `look` is to be called once a second, by one thread.

    Args:
        consumer: running, or stopped.
        clock: monotonic seconds.

    Attributes:
        tags: answers what is asked of tags.
        nodes: answers what is asked of edge nodes.
        samples: of the last 15 minutes.
    """

    def __init__(self, consumer: Consumer, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._clock = clock
        self._lock = threading.Lock()
        self._started_ms = time.time_ns() // 1_000_000
        self.samples = Samples(consumer, clock)
        self.tags = TagBook(consumer, clock)
        self.nodes = NodeBook(consumer, self.tags, clock)
        self._attention = Attention(consumer, clock)
        self._balance: Balance | None = None
        self._balance_error = ""
        self._balance_at = self._made_at = -1e9
        self._made: dict[str, Any] = {}

    def look(self) -> None:
        """Take a sample, and what else is only known by looking again and again."""
        self.samples.look()
        self.tags.look()

    def picture(self) -> dict[str, Any]:
        """The answer of `/api/overview`."""
        return {**self.now(), "samples": self.samples.columns()}

    def update(self) -> dict[str, Any]:
        """The picture without the samples, but with the newest one: an event of `/api/stream`."""
        last = self.samples.last
        return {**self.now(), "sample": None if last is None else last._asdict()}

    def now(self) -> dict[str, Any]:
        """The picture without samples, not older than half a second."""
        with self._lock:
            if self._clock() - self._made_at >= _FRESH_SECONDS:
                self._made = self._make()
                self._made_at = self._clock()
            return self._made

    # ------------------------------------------------------------------ its parts

    def _make(self) -> dict[str, Any]:
        consumer = self._consumer
        balance = self._read_balance()
        items = self._attention.items(balance)
        sample = self.samples.last
        host = consumer.configuration.host
        log = consumer.side.log
        return {
            "now_ms": time.time_ns() // 1_000_000,
            "host_id": host.id,
            "host_mode": host.mode,
            "started_ms": self._started_ms,
            "state": self._state(items),
            "cards": self._cards(items, sample),
            "attention": [each.shown() for each in items[:MOST_SHOWN]],
            "ledger": self._ledger(balance),
            "pauses": self.pauses(),
            "versions": {
                "tags": self.tags.version,
                "nodes": log.count,
                "letters": self._attention.letters_version,
                "events": log.count,
            },
        }

    def _read_balance(self) -> Balance | None:
        if self._clock() - self._balance_at >= _BALANCE_SECONDS:
            self._balance_at = self._clock()
            try:
                self._balance, self._balance_error = balance_of_file(self._consumer.spool.path), ""
            except SpoolError as error:
                self._balance, self._balance_error = None, str(error)
        return self._balance

    def _ledger(self, balance: Balance | None) -> dict[str, Any]:
        if balance is None:
            return {"balanced": False, "difference": None, "text": self._balance_error}
        _, rows = balance.totals()
        numbers = rows.to_dict()
        accounts = ("acknowledged", "spooled", "dead_lettered", "dropped", "suppressed")
        text = " + ".join(f"{name.replace('_', '-')} {numbers[name]:,}" for name in accounts)
        return {
            "balanced": balance.balanced,
            "difference": balance.difference,
            "text": f"produced {numbers['produced']:,} = {text}, difference {balance.difference:,}",
        }

    def pauses(self) -> list[dict[str, Any]]:
        """Pauses of delivery that are on."""
        return [
            {
                "table": paused.table,
                "until_ms": int(paused.until * 1000),
                "by": paused.by,
                "why": paused.why,
            }
            for paused in (each.paused for each in self._consumer.deliveries)
            if paused is not None
        ]

    def _state(self, items: Sequence[Item]) -> dict[str, Any]:
        """How all is, in one line."""
        consumer = self._consumer
        if consumer.failure is not None:
            return {"level": Level.WRONG, "text": items[0].text[:1].upper() + items[0].text[1:]}
        paused = consumer.main_delivery.paused
        if paused is not None:
            until = time.strftime("%H:%M", time.gmtime(paused.until))
            text = f"Delivery is paused until {until} UTC by {paused.by}"
            return {"level": Level.WARNING, "text": text}
        stats = consumer.main_delivery.stats()
        if stats.state in (StreamState.BLOCKED, StreamState.BACKING_OFF) and stats.cause:
            return {"level": Level.WRONG, "text": f"Rows wait: {stats.cause}"}
        if items:
            count = len(items)
            text = "1 thing needs" if count == 1 else f"{count} things need"
            return {"level": items[0].level, "text": f"{text} attention"}
        is_fed = consumer.posts.accepted or any(
            source.fleet.gauges.node_count for source in consumer.sources
        )
        if not is_fed:
            return {"level": Level.UNKNOWN, "text": "No edge node has been heard yet"}
        return {"level": Level.OK, "text": "All rows flow"}

    def _cards(self, items: Sequence[Item], sample: Sample | None) -> list[dict[str, Any]]:
        consumer = self._consumer
        connected = sum(each.connected.is_set() for each in consumer.connections)
        fleets = [source.fleet for source in consumer.sources]
        nodes, tags = (
            sum(each.gauges.node_count for each in fleets),
            sum(each.gauges.live_tags for each in fleets),
        )
        spool, stats = consumer.watch.stats, consumer.main_delivery.stats()
        gate = consumer.back_pressure.why_closed
        return [
            _card(
                *("servers", "MQTT servers", "messages/s"),
                sample.messages_per_second if sample else None,
                f"{connected} of {len(consumer.connections)} connected",
                _level_of_servers(connected == len(consumer.connections), gate),
                items,
                # While the gate is closed servers are left on purpose: that is the cause.
                ("gate",) if gate else _CARD_KINDS["servers"],
            ),
            _card(
                *("decode", "Decode", "rows/s"),
                sample.rows_per_second if sample else None,
                f"{nodes:,} edge nodes, {tags:,} tags",
                Level.OK if consumer.alive else Level.WRONG,
                items,
                _CARD_KINDS["decode"],
            ),
            _card(
                *("spool", "Spool", "rows waiting"),
                consumer.spooled_rows,
                f"{spool.fill * 100:.0f} % of {size_text(spool.max_bytes)} used",
                Level.OK,
                items,
                _CARD_KINDS["spool"],
            ),
            _card(
                *("zerobus", "Zerobus", "rows/s acknowledged"),
                sample.acknowledged_per_second if sample else None,
                f"stream {stats.state.replace('_', ' ').lower()}",
                _STATE_LEVELS[stats.state],
                items,
                _CARD_KINDS["zerobus"],
            ),
        ]

    # ------------------------------------------------------------------ servers

    def servers(self) -> list[dict[str, Any]]:
        """The MQTT servers."""
        consumer, flows = self._consumer, self.samples.flows
        messages = consumer.telemetry.by_label("messages_received")
        gate = consumer.back_pressure.why_closed
        if gate:
            mend = f"nothing is wrong with it: the gate to the edge is not open: {gate}"
        else:
            mend = "`sparkplug-zerobus check` says what is wrong, and how to mend it"
        shown = []
        for source, connection in zip(consumer.sources, consumer.connections, strict=True):
            server, fleet = connection.server, source.fleet
            flow = flows.get(server.name)
            connected = connection.connected.is_set()
            shown.append(
                {
                    "name": server.name,
                    "site": server.site,
                    "url": server.url,
                    "level": _level_of_servers(connected, gate),
                    "connected": connected,
                    "connections": connection.connections,
                    "last_error": connection.last_error,
                    "mend": "" if connected else mend,
                    "edge_nodes": fleet.gauges.node_count,
                    "edge_nodes_alive": sum(bool(each.is_born) for each in fleet.node_views()),
                    "edge_nodes_silent": len(fleet.absence.silences.nodes),
                    "tags": fleet.gauges.live_tags,
                    "messages": messages.get(server.name, 0),
                    "messages_per_second": round(flow.messages, 1) if flow else 0.0,
                    "rows_per_second": round(flow.rows, 1) if flow else 0.0,
                    "waiting_messages": fleet.gauges.held_messages,
                    "broker_dropped_messages": connection.drops.total,
                    "foreign_host_births": connection.own_state.foreign_births,
                }
            )
        return shown


def _level_of_servers(is_connected: bool, gate: str) -> Level:
    """How well the connections are; `gate`: why they are closed on purpose, empty if not."""
    if is_connected:
        return Level.OK
    return Level.UNKNOWN if gate else Level.WRONG


def _card(  # noqa: PLR0917 - one call for each card
    card: str,
    title: str,
    unit: str,
    number: float | None,
    text: str,
    level: Level,
    items: Sequence[Item],
    kinds: Sequence[str],
) -> dict[str, Any]:
    """A card; what needs attention there says the first cause and its mend."""
    first = next((each for each in items if each.kind in kinds), None)
    # What is closed on purpose is not known to be well, and nothing is wrong with it.
    is_closed = first is not None and first.kind == "gate" and level is Level.UNKNOWN
    worst = first.level if first is not None and level is not Level.WRONG else level
    return {
        "card": card,
        "level": level if is_closed else worst,
        "title": title,
        "number": number,
        "unit": unit,
        "text": text,
        "cause": first.text if first is not None else "",
        "mend": first.mend if first is not None else "",
    }


EVENT_KINDS: Final = tuple(str(each) for each in EventKind)
"""Kinds of events, as they are asked for."""
