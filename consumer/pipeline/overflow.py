"""While the spool has no room: read on, drop the rows, and remember whose they are.

Messages are decoded as ever, because births, deaths and seq must go on: otherwise aliases
would stand for something else afterwards, and every message that we drop ourselves would look
like one that was lost on the way. Births, seq, and the rows of quality STALE of what died are
written into the spool's last room, which is kept for that: nobody could say them again. The
rows of values are dropped, batch by batch, so that messages are lost as a whole. When there
is room again each node that lost any is asked for its births: they say what its values are now.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.errors import SpoolDiskFull
from consumer.spool import Participant
from sparkplug import Reason, RebirthRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consumer.pipeline.source import Source
    from consumer.pipeline.taken import Taken
    from consumer.pipeline.telemetry import Telemetry
    from consumer.spool import Spool, StateValue
    from sparkplug import NodeKey

_LOG = logging.getLogger(__name__)

_SHOWN_NODES: Final = 20
_LOG_EVERY: Final = 30.0
"""Seconds between log lines that the spool is full, where it is so to and fro."""
_REASON: Final = str(Reason.SPOOL_FULL)
_OF_SPOOL: Final = 128
"""Names of those who are to be asked take this part of the spool at most, for the next run."""
_MOST_KEPT_BYTES: Final = 1 << 20


class Dropped(NamedTuple):
    """What of one server found no room: messages of which nothing is kept, and rows of values."""

    server: str
    messages: int
    rows: int


class Overflow(Participant):
    """Drops what finds no room in the spool, and has it made good afterwards.

    Used by the decoding thread; `status` by any. What is remembered per node is bounded like the
    nodes (`limits.max_nodes` per server).

    Args:
        spool: tells whether there is room.
        telemetry: where it is counted.
        sources: all servers'.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        spool: Spool,
        telemetry: Telemetry,
        sources: Sequence[Source],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.active = False
        self._spool = spool
        self._telemetry = telemetry
        self._clock = clock
        self._since = 0.0
        self._messages = 0  # since it was told that there is room
        self._told_at = -math.inf
        self._untold: Exception | None = None
        self._times_untold = 0
        self._discarded: dict[str, Counter[NodeKey]] = {each.name: Counter() for each in sources}
        self._to_ask = {each.name: self._remembered(each.name) for each in sources}
        most = min(_MOST_KEPT_BYTES, spool.stats().max_bytes // _OF_SPOOL)
        self._most = most // max(1, len(sources))
        self._changed = False
        if any(self._to_ask.values()):  # an earlier run ended while the spool was full
            spool.space.note_full()
            self.active = True
            self._since = clock()

    # ------------------------------------------------------------------ begin and end

    def begin(self, error: Exception) -> None:
        """A batch found no room."""
        self.active = True
        self._since = self._clock()
        self._untold = error
        self._tell_of_beginning()

    def _tell_of_beginning(self) -> None:
        now, error = self._clock(), self._untold
        if error is None or now - self._told_at < _LOG_EVERY:
            return
        mend = (
            "free space on the disk of the spool"
            if isinstance(error, SpoolDiskFull)
            else "see why Zerobus takes no rows, or raise spool.max_bytes"
        )
        times = self._times_untold
        _LOG.error(
            "%s. Messages are read and dropped, counted per edge node, until there is room again: "
            "%s%s",
            error,
            mend,
            f" (meanwhile it was full {times} times more, for a moment)" if times else "",
        )
        self._told_at, self._untold, self._times_untold = now, None, 0

    def look(self, sources: Sequence[Source]) -> None:
        """Before a batch: if there is room again, ask those who lost something for births."""
        if not self.active:
            return
        if not self._spool.space.has_room():
            self._tell_of_beginning()
            return
        self.active = False
        asked = 0
        for source in sources:
            for node in self._to_ask[source.name]:
                # Whoever died says what its values are when it is born.
                if source.fleet.alive(*node):
                    source.governor.want(RebirthRequest(*node, Reason.SPOOL_FULL))
                    asked += 1
            self._changed |= bool(self._to_ask[source.name])
            self._to_ask[source.name] = set()
        if self._untold is not None:
            self._untold = None
            self._times_untold += 1
            return
        _LOG.warning(
            "the spool has room again after %.0f s; %d messages were dropped meanwhile, and %d "
            "edge nodes are asked for their births",
            self._clock() - self._since,
            self._messages,
            asked,
            extra={"messages": self._messages, "edge_nodes": asked},
        )
        self._messages = 0

    # ------------------------------------------------------------------ dropping

    def drop(self, taken: Sequence[Taken], side_rows: int) -> list[Dropped]:
        """Drop the rows of a batch, but for those of deaths, and count them and their messages.

        `side_rows` are those of side tables, which are dropped by whoever has them.

        Returns:
            What that makes, by server.
        """
        rows = side_rows
        dropped: list[Dropped] = []
        for each in taken:
            source = each.source
            values = each.drop_values()
            rows += values
            lost = source.fleet.lose(each.decoded)
            if lost:
                self._count(source.name, lost)
                group_id, edge_node_id = next(iter(lost))
                self._telemetry.add_discarded(
                    sum(lost.values()), _REASON, source.name, f"{group_id}/{edge_node_id}"
                )
            # What the next births say is news: nothing of what was dropped has been said.
            source.tags.forget_last_rows()
            source.fleet.catalogue.states.describe_again()
            dropped.append(Dropped(source.name, sum(lost.values()), values))
        if rows:
            self._telemetry.add_dropped(rows, _REASON)
        return dropped

    def drop_rest(self, taken: Sequence[Taken]) -> None:
        """Drop rows of deaths, too: not even the last room suffices. Keep the rest for later."""
        rows = sum(each.rows_left for each in taken)
        if rows:
            self._telemetry.add_dropped(rows, _REASON)
        for each in taken:
            if each.dead:
                self._telemetry.add_dead_messages_lost(len(each.dead))
            if each.held:
                self._telemetry.add_discarded(len(each.held), _REASON, each.source.name)
            each.keep_for_later()

    def _count(self, server: str, lost: dict[NodeKey, int]) -> None:
        self._messages += sum(lost.values())
        self._discarded[server].update(lost)
        waiting = self._to_ask[server]
        before = len(waiting)
        waiting.update(lost)
        self._changed |= len(waiting) > before

    # ------------------------------------------------------------------ kept and shown

    @property
    def state(self) -> dict[str, StateValue]:
        """Names of nodes that are still to be asked for births: the next run asks them then."""
        if not self._changed:
            return {}
        return {_key(server): _as_text(nodes, self._most) for server, nodes in self._to_ask.items()}

    def committed(self) -> None:
        """Note that the nodes that are to be asked for births are in the spool."""
        self._changed = False

    def _remembered(self, server: str) -> set[NodeKey]:
        known = self._spool.state.get(_key(server))
        if not isinstance(known, str):
            return set()
        try:
            return {
                (str(group_id), str(edge_node_id)) for group_id, edge_node_id in json.loads(known)
            }
        except (ValueError, TypeError):
            _LOG.warning(
                "%s: the spool has lost which edge nodes are to be asked for births because "
                "messages of theirs were dropped while it was full: check the disk, and ask for "
                "them with `sparkplug-zerobus rebirth`",
                server,
                extra={"server": server},
            )
            return set()

    def status(self) -> dict[str, Any]:
        """Messages dropped since the start, and the nodes that lost most, for /status."""
        counts = [
            (count, server, *node)
            for server, nodes in self._discarded.items()
            for node, count in nodes.copy().most_common(_SHOWN_NODES)
        ]
        counts.sort(reverse=True)
        return {
            "full": self.active,
            "messages_discarded": self._telemetry.messages_discarded,
            "edge_nodes": sum(map(len, self._discarded.values())),
            "most_discarded": [
                {"messages": count, "server": server, "group_id": group, "edge_node_id": node}
                for count, server, group, node in counts[:_SHOWN_NODES]
            ],
        }


def _as_text(nodes: Iterable[NodeKey], most_bytes: int) -> str:
    """Nodes for the spool's file: those with short names, if all are too much for it.

    It is written when there is no room, and anew with each node that comes to it.
    """
    left = most_bytes
    kept: list[NodeKey] = []
    for node in sorted(nodes, key=lambda each: (len(each[0]) + len(each[1]), each)):
        left -= len(json.dumps(node, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if left < 0:
            break
        kept.append(node)
    return json.dumps(kept, ensure_ascii=False)


def _key(server: str) -> str:
    return f"spool_full_nodes/{server}"
