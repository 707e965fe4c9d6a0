"""Edge nodes are asked for their births, except those that an alarm tells to leave alone.

Decoding, or a person, wants that. `AlarmLog` logs alarms, and tells the governors of them.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sparkplug import (
    ALARM_OVER,
    Event,
    EventKind,
    Reason,
    RebirthRequest,
    check_id,
    reason_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from consumer.log_budget import LogBudget
    from consumer.pipeline.intake import Connection
    from consumer.pipeline.side_tables import SideTables
    from consumer.pipeline.source import Source
    from consumer.pipeline.telemetry import Telemetry
    from sparkplug import Fleet, RebirthGovernor, Unmended

_LOG = logging.getLogger(__name__)

_MOST_ASKED: Final = 10_000

WHAT_TO_DO: Final[Mapping[EventKind, str]] = {
    EventKind.DUPLICATE_NODE: (
        "give one of them another group or edge node id; "
        "no rebirth requests are sent to it until ten minutes after the last sign of them"
    ),
    EventKind.SILENT: "see whether it runs and reaches its MQTT server",
    EventKind.CLOCK: "set its clock right, or mend its timestamps; values keep the times they have",
}
"""What helps against each kind of alarm, as a piece of a sentence."""

_UNMENDED: Final = {
    Reason.UNKNOWN_METRIC: (
        "sends metrics that none of its births declares, such as",
        "declare them in NBIRTH or DBIRTH at the edge node, or leave them out with `exclude`",
    ),
    Reason.UNKNOWN_ALIAS: (
        "sends aliases that none of its births gives to a metric, such as",
        "let the edge node give each alias in NBIRTH or DBIRTH, or send names",
    ),
    Reason.DEVICE_DATA_BEFORE_BIRTH: (
        "sends data of a device without its DBIRTH:",
        "let the edge node publish the DBIRTHs of all its devices after each NBIRTH",
    ),
    Reason.BAD_PAYLOAD: (
        "sends messages that are no Sparkplug payload, on",
        "see what publishes on that topic, and in which format",
    ),
}


class Rebirths:
    """Sends what the governors let through. Used by the decoding thread, `ask` by any.

    Args:
        sources: of all servers; their governors know who is to be asked, and when.
        connections: of the same servers, in the same order.
        side: has an event for each request.
        telemetry: where requests are counted.
        passive: the host publishes nothing.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        connections: Sequence[Connection],
        side: SideTables,
        telemetry: Telemetry,
        *,
        passive: bool,
    ) -> None:
        self._sources = sources
        self._connections = connections
        self._side = side
        self._telemetry = telemetry
        self._passive = passive
        self._asked_by_user: deque[tuple[int, RebirthRequest]] = deque(maxlen=_MOST_ASKED)

    def ask(self, server: str, group_id: str, edge_node_id: str) -> None:
        """Ask an edge node because a person wants it.

        The request is sent within a second or so, at most every `host.rebirth.per_node`,
        also to nodes that are left alone because two publishers use their id.

        Raises:
            ValueError: no server has this name, the ids cannot be those of an edge node,
                or the host is passive.
        """
        if self._passive:
            raise ValueError("a passive host publishes nothing: set host.mode to active")
        names = [source.name for source in self._sources]
        if server not in names:
            raise ValueError(f"there is no server {server!r}, only {', '.join(names)}")
        request = RebirthRequest(
            check_id(group_id, "group id"),
            check_id(edge_node_id, "edge node id"),
            Reason.ASKED_BY_USER,
        )
        self._asked_by_user.append((names.index(server), request))

    def send(self) -> None:
        """Send the requests that are due; and let the fleets know which servers are there."""
        now = time.monotonic()
        while self._asked_by_user:
            index, request = self._asked_by_user.popleft()
            self._sources[index].governor.want(request)
        for source, connection in zip(self._sources, self._connections, strict=True):
            self._tell(source.governor.take_unmended(), source.name)
            if not connection.connected.is_set():
                continue
            source.fleet.absence.listening(time.time_ns() // 1_000)
            is_moot = partial(_is_moot, source.fleet)
            for group_id, edge_node_id, reason in source.governor.due(now, is_moot):
                if connection.request_rebirth(group_id, edge_node_id):
                    self._note(source, RebirthRequest(group_id, edge_node_id, reason))

    def status(self) -> list[dict[str, Any]]:
        """Edge nodes with a trouble that their births do not mend, for /status; on any thread."""
        return [
            {
                "server": source.name,
                "group_id": each.group_id,
                "edge_node_id": each.edge_node_id,
                "reason": str(each.reason),
                "problem": f"{_UNMENDED[each.reason][0]} {each.subject}".rstrip(),
                "births_in_vain": each.births,
                "mend": _UNMENDED[each.reason][1],
            }
            for source in self._sources
            for each in source.governor.unmended
        ]

    def _tell(self, news: Sequence[Unmended], server: str) -> None:
        """Say once what is wrong with nodes, and how to mend it."""
        for each in news:
            if not self._telemetry.log_budget.allows("unmended", server):
                continue
            problem, mend = _UNMENDED[each.reason]
            _LOG.warning(
                "%s/%s %s %s, and its births do not mend that: it is asked ever more rarely; %s",
                each.group_id,
                each.edge_node_id,
                problem,
                each.subject or "many",
                mend,
                extra={
                    "group_id": each.group_id,
                    "edge_node_id": each.edge_node_id,
                    "reason": str(each.reason),
                },
            )

    def _note(self, source: Source, sent: RebirthRequest) -> None:
        """Count a request that was sent, and tell of it."""
        group_id, edge_node_id, reason, _ = sent
        source.fleet.absence.asked(group_id, edge_node_id)
        self._telemetry.add_rebirth(reason)
        now_us = time.time_ns() // 1_000
        self._side.note(
            source.tags.names,
            Event(EventKind.REBIRTH_REQUEST, now_us, group_id, edge_node_id, reason=str(reason)),
        )
        budget = self._telemetry.log_budget
        if _LOG.isEnabledFor(logging.INFO) and budget.allows("rebirth_request", source.name):
            _LOG.info(
                "asked %s/%s for a rebirth: %s",
                group_id,
                edge_node_id,
                reason_in_words(reason),
                extra={"group_id": group_id, "edge_node_id": edge_node_id},
            )


def _is_moot(fleet: Fleet, group_id: str, edge_node_id: str, reason: Reason) -> bool:
    """Whether a rebirth request has no reason any more: the node was unheard, and has spoken."""
    return reason is Reason.UNHEARD and not fleet.absence.is_unheard(group_id, edge_node_id)


class AlarmLog:
    """Logs alarms of one server's nodes that began or ended; of many at once, some.

    Whoever may publish may invent nodes, each with alarms of its own and a long name. All of them
    are events, and counted.

    Args:
        server: name of the MQTT server.
        budget: says how many are logged.
    """

    def __init__(self, server: str, budget: LogBudget) -> None:
        self._server = server
        self._budget = budget

    def heed(
        self,
        events: Iterable[Event],
        governor: RebirthGovernor,
        duplicates: AbstractSet[tuple[str, str]],
    ) -> None:
        """Log alarms among events, and do not ask nodes for births that two publish.

        Births of one publisher make the other one's data unreadable: asking only feeds that.
        The governor is told of the births of devices, too.
        """
        for event in events:
            if event.kind is EventKind.DEVICE_BIRTH:
                born = (event.group_id or "", event.edge_node_id or "", event.device_id or "")
                governor.device_born(*born)
            advice = WHAT_TO_DO.get(event.kind)
            if advice is None or event.group_id is None or event.edge_node_id is None:
                continue
            key = (event.group_id, event.edge_node_id)
            if event.kind is EventKind.DUPLICATE_NODE:
                (governor.suspend if key in duplicates else governor.resume)(*key)
            self._log(event, f"{key[0]}/{key[1]}", advice)

    def _log(self, event: Event, node: str, advice: str) -> None:
        over = (event.reason or "").endswith(ALARM_OVER)
        level = logging.INFO if over else logging.WARNING
        kind = f"{event.kind}{ALARM_OVER}" if over else str(event.kind)
        if not _LOG.isEnabledFor(level) or not self._budget.allows(kind, self._server):
            return
        _LOG.log(
            level,
            "%s: %s%s",
            node,
            event.detail,
            "" if over else f"; {advice}",
            extra={
                "group_id": event.group_id,
                "edge_node_id": event.edge_node_id,
                "reason": event.reason,
            },
        )
