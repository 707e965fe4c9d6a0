"""What needs attention, worst first: each with its text, what helps, and since when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from consumer.delivery import StreamState
from consumer.errors import SpoolError
from consumer.monitor.node_book import SILENT
from consumer.monitor.shown import Level, milliseconds
from consumer.pipeline import WHAT_TO_DO
from consumer.spool import LetterKind, dead_letters_of, oldest_open_gap
from sparkplug import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.delivery import TableDelivery
    from consumer.pipeline import Consumer
    from consumer.spool import Balance, LettersKept

MOST_SHOWN: Final = 50
_MOST_NODES: Final = 5
"""Of more nodes with the same trouble, one item tells of all."""
_REFUSED_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 5.0
_RANK: Final = {Level.WRONG: 0, Level.WARNING: 1}
_LETTERS: Final = {
    LetterKind.REFUSED: "dead letters of rows that Zerobus refuses",
    LetterKind.OVERSIZED: "dead letters of rows longer than a call to Zerobus may be",
    LetterKind.UNREADABLE: "dead letters of messages that could not be read",
}
_SEE: Final = "`sparkplug-zerobus check` says what is wrong, and how to mend it"


class Item(NamedTuple):
    """One thing that needs attention; `number` is of how many nodes or letters it tells."""

    level: Level
    kind: str
    text: str
    mend: str = ""
    since_ms: int | None = None
    number: int = 1
    link: str = "#/overview"

    def shown(self) -> dict[str, Any]:
        """The item for JSON."""
        found = self._asdict()
        return {"count" if name == "number" else name: value for name, value in found.items()}


class Attention:
    """Looks what needs attention. Used by one thread at a time.

    Args:
        consumer: what is looked at.
        clock: monotonic seconds.

    Attributes:
        letters_version: counts how often the dead letters were seen to be others than before.
    """

    def __init__(self, consumer: Consumer, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._clock = clock
        self._since: dict[tuple[str, str], int] = {}
        self._refused = 0
        self._refused_at = self._looked_at = -1e9
        self._letters: dict[LetterKind, LettersKept] = {}
        self.letters_version = 0
        self._gap_us: int | None = None

    def items(self, balance: Balance | None) -> list[Item]:
        """All that needs attention, worst first. `balance` is None if it cannot be read."""
        now_ms = time.time_ns() // 1_000_000
        found = list(self._all(balance))
        seen = {(each.kind, each.link + each.mend): now_ms for each in found}
        self._since = {key: self._since.get(key, at) for key, at in seen.items()}
        dated = [
            each
            if each.since_ms is not None
            else each._replace(since_ms=self._since[each.kind, each.link + each.mend])
            for each in found
        ]
        return sorted(dated, key=lambda each: _RANK.get(each.level, 2))

    def _all(self, balance: Balance | None) -> Iterator[Item]:
        consumer = self._consumer
        if (failure := consumer.failure) is not None:
            yield Item(
                Level.WRONG, "failure", f"the consumer does not work: {failure}", "restart it"
            )
        yield from self._servers()
        yield from self._pauses()
        for delivery in consumer.deliveries:
            yield from self._delivery(delivery)
        if why := consumer.back_pressure.why_closed:
            yield Item(Level.WARNING, "gate", f"the gate to the edge is not open: {why}")
        if why := consumer.drill.why_offline:
            yield Item(Level.WARNING, "drill", why, "`sparkplug-zerobus drill --end` ends it")
        yield from self._spool()
        yield from self._queue()
        if balance is not None and not balance.balanced:
            text = f"the ledger does not add up: {balance.difference:,} are not explained"
            yield Item(Level.WRONG, "ledger", text, "see `sparkplug-zerobus ledger`")
        for each in consumer.unmended_nodes:
            place = (each["server"], each["group_id"], each["edge_node_id"])
            text = f"{each['group_id']}/{each['edge_node_id']} {each['problem']}"
            yield Item(Level.WARNING, "unmended", text, each["mend"], link=_node_link(*place))
        yield from self._nodes()
        yield from self._kept()

    def _servers(self) -> Iterator[Item]:
        consumer = self._consumer
        for connection in consumer.connections:
            name = connection.server.name
            is_wanted = consumer.back_pressure.is_open and not consumer.drill.keeps_offline(name)
            if is_wanted and not connection.connected.is_set():
                why = f": {connection.last_error}" if connection.last_error else ""
                yield Item(Level.WRONG, "server", f"{name} is not connected{why}", _SEE)
            if connection.own_state.displaced:
                yield Item(
                    Level.WARNING,
                    "other_host",
                    f"{name}: this consumer threw out another client with the same client id",
                    "give one of them another servers[].client_id",
                )
            if connection.own_state.foreign_births:
                yield Item(
                    Level.WARNING,
                    "other_host",
                    f"{name}: another host application used this host's id",
                    "give one of them another host.id",
                )

    def _pauses(self) -> Iterator[Item]:
        """One item for all tables that were paused together."""
        tables: dict[tuple[str, str, str], list[str]] = {}
        for paused in (each.paused for each in self._consumer.deliveries):
            if paused is not None:
                until = time.strftime("%H:%M", time.gmtime(paused.until))
                tables.setdefault((until, paused.by, paused.why), []).append(paused.table)
        for (until, by, why), paused_tables in tables.items():
            of = paused_tables[0] if len(paused_tables) == 1 else f"{len(paused_tables)} tables"
            because = f": {why}" if why else ""
            text = f"delivery to {of} is paused until {until} UTC by {by}{because}"
            yield Item(Level.WARNING, "paused", text, "resume it, or wait for its end")

    def _delivery(self, delivery: TableDelivery) -> Iterator[Item]:
        is_main = delivery is self._consumer.main_delivery
        stats = delivery.stats()
        if stats.state in (StreamState.BLOCKED, StreamState.BACKING_OFF) and stats.cause:
            level = Level.WRONG if stats.state is StreamState.BLOCKED else Level.WARNING
            kind = "delivery" if is_main else "side_delivery"
            yield Item(level, kind, f"Zerobus, {delivery.table}: {stats.cause}", stats.mend)

    def _spool(self) -> Iterator[Item]:
        consumer = self._consumer
        if consumer.overflow.active:
            yield Item(
                Level.WRONG,
                "spool",
                "the spool is full: messages are dropped",
                "see why Zerobus takes no rows, or give it more room (spool.max_bytes, its disk)",
            )
        elif consumer.watch.above:
            yield Item(
                Level.WARNING,
                "spool",
                f"the spool is nearly full: {consumer.watch.status()['why']}",
                "see why Zerobus takes no rows, or give it more room (spool.max_bytes, its disk)",
            )

    def _queue(self) -> Iterator[Item]:
        refused = self._consumer.telemetry.noisiest.messages
        if refused != self._refused:
            self._refused, self._refused_at = refused, self._clock()
        if self._clock() - self._refused_at < _REFUSED_SECONDS:
            yield Item(
                Level.WRONG,
                "queue",
                "more comes than can be read: messages are refused",
                "see in `/status` (queue) which edge nodes send most; docs/sizing.md",
            )

    def _nodes(self) -> Iterator[Item]:
        for source in self._consumer.sources:
            fleet, server = source.fleet, source.name
            duplicates = sorted(fleet.alarms.duplicates.alarmed)
            mend = WHAT_TO_DO[EventKind.DUPLICATE_NODE]
            yield from _grouped(
                *(Level.WRONG, "duplicate", server, mend, "two publishers seem to use its id"),
                [(*key, None, "") for key in duplicates],
            )
            yield from _grouped(
                *(Level.WARNING, "silent", server, WHAT_TO_DO[EventKind.SILENT], "silent"),
                [
                    (
                        each.group_id,
                        each.edge_node_id,
                        milliseconds(each.since_us),
                        SILENT[str(each.reason)],
                    )
                    for each in sorted(fleet.absence.silences.nodes, key=lambda each: each.since_us)
                ],
            )
            if problems := fleet.alarms.clock_problems:
                yield Item(
                    Level.WARNING,
                    "clock",
                    f"{server}: edge nodes with implausible times: {problems}",
                    WHAT_TO_DO[EventKind.CLOCK],
                    number=problems,
                    link="#/nodes?" + urlencode({"server": server, "sort": "clock"}),
                )
            if unheard := fleet.gauges.unheard_nodes:
                yield Item(
                    Level.WARNING,
                    "unheard",
                    f"{server}: edge nodes that were alive and are not heard of since the "
                    f"connection was lost or the consumer started: {unheard}",
                    number=unheard,
                    link="#/nodes?" + urlencode({"server": server}),
                )

    def _kept(self) -> Iterator[Item]:
        """Of what the spool keeps: gaps and dead letters, since the oldest of them."""
        if self._clock() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = self._clock()
            self._look()
        if gaps := sum(self._consumer.gaps.open.values()):
            text = _one_or_more(gaps, "gaps in what edge nodes sent, not healed yet", "gaps", "gap")
            mend = "most heal with the node's next births or its stored history; see which do not"
            since_ms = milliseconds(self._gap_us)
            yield Item(Level.WARNING, "gaps", text, mend, since_ms, gaps, "#/gaps")
        for kind, (count, first_at, _) in self._letters.items():
            yield Item(
                Level.WARNING,
                "letters",
                _one_or_more(count, _LETTERS[kind], "dead letters", "dead letter"),
                "see why, then retry or drop them",
                int(first_at * 1000),
                count,
                "#/letters",
            )

    def _look(self) -> None:
        """See what is in the spool's file."""
        path = self._consumer.spool.path
        try:
            # Over a connection of its own: many are counted, and rows are to be committed.
            with dead_letters_of(path) as letters:
                found = letters.by_kind()
            # One that came is the last one, also if another one went.
            self.letters_version += found != self._letters
            self._letters = found
            self._gap_us = oldest_open_gap(path)
        except SpoolError:
            self._letters, self._gap_us = {}, None


def _grouped(  # noqa: PLR0917 - one call for each kind
    level: Level,
    kind: str,
    server: str,
    mend: str,
    what: str,
    nodes: list[tuple[str, str, int | None, str]],
) -> Iterator[Item]:
    """An item for each node, or one for all if they are many."""
    if len(nodes) > _MOST_NODES:
        yield Item(
            level,
            kind,
            f"{server}: of {len(nodes)} edge nodes: {what}",
            mend,
            min((each[2] for each in nodes if each[2] is not None), default=None),
            len(nodes),
            "#/nodes?" + urlencode({"server": server, "state": kind}),
        )
        return
    for group_id, edge_node_id, since_ms, detail in nodes:
        text = f"{server}: {group_id}/{edge_node_id}: {detail or what}"
        link = _node_link(server, group_id, edge_node_id)
        yield Item(level, kind, text, mend, since_ms, 1, link)


def _one_or_more(count: int, text: str, plural: str, singular: str) -> str:
    """A number before a text that begins with what is counted."""
    return f"{count:,} {text if count != 1 else text.replace(plural, singular, 1)}"


def _node_link(server: str, group_id: str, edge_node_id: str) -> str:
    where: dict[str, Any] = {"server": server, "group": group_id, "node": edge_node_id}
    return "#/node?" + urlencode(where)
