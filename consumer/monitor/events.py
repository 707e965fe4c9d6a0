"""Events for the API: the last ones, of all nodes or of some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.monitor.shown import Level, milliseconds
from sparkplug import ALARM_OVER, EventKind, Healing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.pipeline import LoggedEvent

_LEVELS: Final = {
    EventKind.NODE_BIRTH: Level.OK,
    EventKind.DEVICE_BIRTH: Level.OK,
    EventKind.REBIRTH_REQUEST: Level.OK,
    EventKind.RETIRED: Level.OK,
    EventKind.DUPLICATE_NODE: Level.WRONG,
    EventKind.DUPLICATE_HOST: Level.WRONG,
}
"""All other kinds are warnings."""


def event_row(logged: LoggedEvent) -> dict[str, Any]:
    """An event as lists show it."""
    event = logged.event
    return {
        "number": logged.number,
        "time_ms": milliseconds(event.time_us),
        "server": logged.server,
        "group": event.group_id,
        "node": event.edge_node_id,
        "device": event.device_id,
        "kind": str(event.kind),
        "reason": event.reason,
        "text": _text(logged),
        "level": _level(logged),
    }


def event_rows(
    logged: Iterable[LoggedEvent],
    *,
    server: str = "",
    group: str = "",
    node: str = "",
    kind: str = "",
    before: int | None = None,
) -> list[LoggedEvent]:
    """Those of some events that are asked for, newest first; empty texts stand for all."""
    found = [
        each
        for each in logged
        if (not server or each.server == server)
        and (not group or each.event.group_id == group)
        and (not node or each.event.edge_node_id == node)
        and (not kind or each.event.kind == kind)
        and (before is None or each.number < before)
    ]
    found.reverse()
    return found


def _level(logged: LoggedEvent) -> Level:
    event = logged.event
    if (event.reason or "").endswith(ALARM_OVER):
        return Level.OK
    if event.kind is EventKind.GAP and event.healing not in (None, Healing.OPEN):
        return Level.OK if event.healing is not Healing.NOT_AT_ALL else Level.WARNING
    return _LEVELS.get(event.kind, Level.WARNING)


def _text(logged: LoggedEvent) -> str:
    event = logged.event
    if event.detail:
        return event.detail
    if event.kind is EventKind.GAP:
        missing = "messages are" if event.missing is None else f"{event.missing} messages are"
        begin = "" if event.seq is None else f" from seq {event.seq} on"
        healing = "" if event.healing in (None, Healing.OPEN) else f"; healed by {event.healing}"
        return f"{missing} missing{begin}{healing}".replace("_", " ")
    if event.bd_seq is not None:
        return f"bdSeq {event.bd_seq}"
    return (event.reason or "").replace("_", " ")
