"""What happens to edge nodes and devices, beside their values: one record per event."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMED: Final = 5
_MOST_NAME: Final = 80


class EventKind(StrEnum):
    """Kinds of events; the text is the column `event_type` of the table `sparkplug_events`."""

    NODE_BIRTH = "node_birth"
    DEVICE_BIRTH = "device_birth"
    NODE_DEATH = "node_death"
    DEVICE_DEATH = "device_death"
    GAP = "gap"
    REBIRTH_REQUEST = "rebirth_request"
    QUARANTINE = "quarantine"
    DUPLICATE_NODE = "duplicate_node"
    CLOCK = "clock"
    CONNECTION_LOST = "connection_lost"
    GATE = "gate"
    DUPLICATE_HOST = "duplicate_host"
    NOT_BORN_AGAIN = "not_born_again"
    RETIRED = "retired"
    SILENT = "silent"


class Healing(StrEnum):
    """How the messages missing in a gap were made up for."""

    OPEN = "open"
    LATE_ARRIVAL = "late_arrival"
    HISTORY_FLUSH = "history_flush"
    REBIRTH_SNAPSHOT = "rebirth_snapshot"
    NOT_AT_ALL = "not_at_all"


class Event(NamedTuple):
    """One event of one edge node or device, or of the host itself.

    Args:
        kind: what happened.
        time_us: when, microseconds since 1970 UTC, by the clock of this host.
        group_id, edge_node_id, device_id: whom it happened to; None where it does not apply.
        reason: why, in the words of `sparkplug.messages.Reason` where there is one.
        bd_seq: of the birth or death.
        seq: of the message; for a gap the first missing one.
        missing: number of messages missing in a gap. `seq` counts modulo 256, so that
            multiples of 256 more may be missing.
        healing: of a gap. Its record is given when the gap is found (`open`) and again,
            with the same kind, node, `time_us` and `seq`, when it has ended.
        detail: what else is known, for people; a short sentence.
    """

    kind: EventKind
    time_us: int
    group_id: str | None = None
    edge_node_id: str | None = None
    device_id: str | None = None
    reason: str | None = None
    bd_seq: int | None = None
    seq: int | None = None
    missing: int | None = None
    healing: Healing | None = None
    detail: str | None = None


def first_names(names: Sequence[str]) -> str:
    """The first MOST_NAMED of some names, each cut where it is long, for a detail."""
    shown = ", ".join(name[:_MOST_NAME] for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and others"
