"""What a delivery tells of itself: states and counters."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.errors import FailureKind


class StreamState(enum.StrEnum):
    """States of a stream, and of a table's delivery, which has the worst of its streams."""

    CONNECTING = "CONNECTING"
    """A stream is being opened."""
    OPENED = "OPENED"
    """Healthy: a stream is open."""
    PROBING = "PROBING"
    """A stream is open again after it was blocked; a few records are tried before all others."""
    BACKING_OFF = "BACKING_OFF"
    """Something failed that passes by itself; the next attempt is seconds away."""
    BLOCKED = "BLOCKED"
    """Something must be mended (`DeliveryStats.cause`); tried again every few minutes."""
    CLOSED = "CLOSED"
    """The delivery was not started, or has stopped."""


@dataclass(slots=True)
class DeliveryStats:
    """Counters since the start, and what is going on now.

    `rows_sent` and `calls_sent` count what was sent again, too. `last_acked_offset` is
    of the stream `generation`, -1 before its first acknowledgement; `last_ack_time` is
    in seconds since 1970, None before the first. `cause` and `cause_kind` are those of
    the first failure since the last progress, or of the first that blocked, None when
    there was none; `mend` says what may help. `failures_by_kind` adds up to `failures`.

    Of several streams the counters are sums, and the state is the worst.

    Those of one stream belong to its thread: it alone changes them, and others get a copy.
    """

    state: StreamState = StreamState.CLOSED
    generation: int = 0
    rows_sent: int = 0
    rows_acked: int = 0
    rows_set_aside: int = 0
    calls_sent: int = 0
    failures: int = 0
    reconnects: int = 0
    rotations: int = 0
    poison_probes: int = 0
    inflight_calls: int = 0
    inflight_rows: int = 0
    lagging: bool = False
    last_acked_offset: int = -1
    last_ack_time: float | None = None
    cause: str | None = None
    cause_kind: FailureKind | None = None
    mend: str = ""
    failures_by_kind: Mapping[FailureKind, int] = field(default_factory=dict)
    """Replaced with every failure, never changed: copies share it."""

    def copy(self) -> DeliveryStats:
        """A copy of the statistics as they are at this moment."""
        return DeliveryStats(*_all_fields(self))


# Five times as fast as `dataclasses.replace`: a copy is made with every call to Zerobus.
_all_fields: Final = attrgetter(*(each.name for each in fields(DeliveryStats)))


_WORST_FIRST: Final = (
    StreamState.BLOCKED,
    StreamState.BACKING_OFF,
    StreamState.CONNECTING,
    StreamState.PROBING,
    StreamState.OPENED,
    StreamState.CLOSED,
)

_SUMS: Final = (
    "rows_sent",
    "rows_acked",
    "rows_set_aside",
    "calls_sent",
    "failures",
    "reconnects",
    "rotations",
    "poison_probes",
    "inflight_calls",
    "inflight_rows",
)


def together(streams: Sequence[DeliveryStats]) -> DeliveryStats:
    """The statistics of a table, from those of its streams."""
    if len(streams) == 1:
        return streams[0]
    newest = max(streams, key=lambda each: each.generation)
    worst = min(streams, key=lambda each: _WORST_FIRST.index(each.state))
    told = next((each for each in (worst, *streams) if each.cause is not None), worst)
    by_kind: Counter[FailureKind] = Counter()
    for each in streams:
        by_kind.update(each.failures_by_kind)
    sums = {name: sum(getattr(each, name) for each in streams) for name in _SUMS}
    return DeliveryStats(
        **sums,
        state=worst.state,
        generation=newest.generation,
        lagging=any(each.lagging for each in streams),
        last_acked_offset=newest.last_acked_offset,
        last_ack_time=max((t for t in (s.last_ack_time for s in streams) if t), default=None),
        cause=told.cause,
        cause_kind=told.cause_kind,
        mend=told.mend,
        failures_by_kind=by_kind,
    )
