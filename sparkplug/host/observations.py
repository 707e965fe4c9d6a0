"""From resolved metrics to observations: which rows there are, their values, times, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from sparkplug import quality
from sparkplug.counting import count_nonzero
from sparkplug.datatypes import READINGS, Reading, reading_and_width
from sparkplug.decoded import Observations
from sparkplug.messages import HOST, MESSAGE_TYPES, ROW_TYPES, Reason
from sparkplug.payload import (
    ABSENT,
    BEYOND_SEQ,
    PayloadColumns,
    ValueKind,
    Values,
    booleans,
    read_values,
    timestamps,
)
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from sparkplug.host.catalogue import TagCatalogue

_COMPLEX: Final = READINGS.index(Reading.COMPLEX)
_AS_FOUND: Final = READINGS.index(Reading.AS_FOUND)
_BIRTHS: Final = [MESSAGE_TYPES.index(t) for t in (MessageType.NBIRTH, MessageType.DBIRTH)]
_US_PER_MS: Final = 1000
NO_TURNS: Final = np.empty(0, dtype=np.int64)

T = TypeVar("T", bound=np.generic)


class Observed(NamedTuple):
    """Rows of a batch, in the order in which messages are read.

    `turns` has the turn of each, and is empty if they are all in order of arrival; `late` says
    which were read late, or had been held, and is None if none was.
    """

    rows: Observations
    turns: NDArray[np.int64]
    late: NDArray[np.bool_] | None


class SessionTags(NamedTuple):
    """The tags of one node or device that are said to be STALE, and all of their session.

    What is STALE already gets no second row, but is later than the others all the same.
    """

    due: NDArray[np.int32]
    of_session: NDArray[np.int32]


class StaleRows(NamedTuple):
    """The rows of one death, and its turn. `by_owner` are their tags, device by device.

    What they say of time is settled with the rest of the batch, see `ReadTimes`.
    """

    turn: int
    rows: Observations
    by_owner: list[SessionTags]


def observe(
    *,
    columns: PayloadColumns,
    tag: NDArray[np.int32],
    catalogue: TagCatalogue,
    message_type: NDArray[np.uint8],
    received_us: NDArray[np.int64],
    ignition: NDArray[np.bool_],
    returned: NDArray[np.bool_],
    late: NDArray[np.bool_] | None,
    texts: Mapping[int, str],
    turn: NDArray[np.int64] | None,
    emit_births: bool,
    emit_transient: bool,
    counts: Counter[Reason],
) -> Observed | None:
    """Rows of a batch, in the order in which messages are read; None if it has none.

    `tag` is per metric, NO_TAG for metrics that give no row; so are
    `returned` (as in Observations), `late` (as in Observed), `ignition` (the publisher is
    Ignition, whose quality code 0 is good) and `turn`, the order in which metrics are read,
    None if it is that of their arrival. `texts` has, by metric, what stands for a value that
    is encoded and read already. `message_type` and `received_us` (microseconds since 1970
    UTC) are per message.
    """
    datatype = catalogue.datatype_of(tag)
    reading, width = reading_and_width(datatype)
    wanted = catalogue.gives_rows(tag)
    _leave_out(wanted, columns, reading, emit_transient=emit_transient, counts=counts)
    if not emit_births:
        wanted &= columns.per_metric(~np.isin(message_type, _BIRTHS))
    count = count_nonzero(wanted)
    if count == 0:
        return None
    rows = None if count == len(tag) else np.flatnonzero(wanted)
    selection = None if rows is None else pa.array(rows)

    def field(name: str) -> pa.Array:
        array: Any = columns.metric(name)
        return array if selection is None else array.take(selection)

    def of(by_metric: NDArray[T]) -> NDArray[T]:
        return by_metric if rows is None else by_metric[rows]

    def of_message(by_message: NDArray[T]) -> NDArray[T]:
        return of(columns.per_metric(by_message))

    tag, datatype, reading, width = of(tag), of(datatype), of(reading), of(width)
    ready = texts and {
        row if rows is None else int(np.searchsorted(rows, row)): texts[row]
        for row in texts
        if wanted[row]
    }
    values = read_values(field, reading, width, datatype, ready)

    payload_us = in_microseconds(columns.timestamp_ms)
    metric_ms, unusable = timestamps(field("timestamp"))
    event_time_us = metric_ms * _US_PER_MS
    if metric_ms.min() == ABSENT:
        fallback_us = of_message(np.where(payload_us == ABSENT, received_us, payload_us))
        event_time_us = np.where(metric_ms == ABSENT, fallback_us, event_time_us)

    code = quality.codes(field("properties"))
    if count_nonzero(values.misfit):
        code[values.misfit] = quality.DOES_NOT_FIT
    _count(
        counts,
        (Reason.TIMESTAMP_OUT_OF_RANGE, unusable),
        (Reason.VALUE_MISSING, values.missing),
        (Reason.VALUE_DOES_NOT_FIT, values.misfit),
        (Reason.UNKNOWN_DATATYPE, reading == _AS_FOUND),
    )
    found = Observations(
        tag=tag,
        event_time_us=event_time_us,
        values=values,
        quality_code=code,
        quality=quality.classes(code, of(ignition)),
        historical=booleans(field("is_historical")),
        returned=of(returned),
        message_type=of_message(message_type),
        seq=of_message(np.where(columns.seq < BEYOND_SEQ, columns.seq, ABSENT)),
        payload_time_us=of_message(payload_us),
        received_us=of_message(received_us),
    )
    late = None if late is None else of(late)
    if turn is None:
        return Observed(found, NO_TURNS, late)
    turns = of(turn)
    order = np.argsort(turns, kind="stable")
    return Observed(found.pick(order), turns[order], None if late is None else late[order])


def in_microseconds(milliseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Milliseconds as microseconds; ABSENT stays as it is."""
    found = milliseconds * _US_PER_MS
    if len(found) and found.min() < 0:  # no time is, only ABSENT
        found[milliseconds == ABSENT] = ABSENT
    return found


def in_turn(
    found: Observations | None,
    turns: NDArray[np.int64],
    stale: list[StaleRows],
) -> list[Observations]:
    """Rows of values and rows of deaths, each with its turn, in one order."""
    if found is None or not stale:
        return [each.rows for each in stale] + ([found] if found is not None else [])
    parts: list[Observations] = []
    start = 0
    for turn, rows, _ in sorted(stale, key=lambda each: each.turn):
        stop = int(np.searchsorted(turns, turn))
        if stop > start:
            parts.append(found.pick(np.arange(start, stop)))
        parts.append(rows)
        start = stop
    if start < len(found):
        parts.append(found.pick(np.arange(start, len(found))))
    return parts


def _leave_out(
    wanted: NDArray[np.bool_],
    columns: PayloadColumns,
    reading: NDArray[np.uint8],
    *,
    emit_transient: bool,
    counts: Counter[Reason],
) -> None:
    """Take from the wanted metrics what is left out on purpose, and count it."""
    is_transient = columns.metric("is_transient")
    if not emit_transient and is_transient.null_count < len(wanted):
        transient = wanted & booleans(is_transient)
        _count(counts, (Reason.TRANSIENT, transient))
        wanted &= ~transient
    not_scalar = reading == _COMPLEX
    if count_nonzero(not_scalar):
        not_scalar &= wanted
        _count(counts, (Reason.DATATYPE_NOT_SUPPORTED, not_scalar))
        wanted &= ~not_scalar


def _count(counts: Counter[Reason], *found: tuple[Reason, NDArray[np.bool_]]) -> None:
    for reason, where in found:
        count = count_nonzero(where)
        if count:  # a reason that never was has no entry
            counts[reason] += int(count)


def stale_observations(
    tags: NDArray[np.int32],
    *,
    message_type: int,
    event_time_us: int,
    payload_time_us: int,
    received_us: int,
    seq: int,
) -> Observations:
    """One row of quality STALE and no value for each tag, all with the same times.

    `message_type` is the code of the death; -1 stands for an absent payload time or seq.
    """
    rows = len(tags)
    nothing = np.zeros(rows, dtype=np.bool_)
    return Observations(
        tag=tags,
        event_time_us=np.full(rows, event_time_us),
        values=Values(
            kind=np.full(rows, ValueKind.NULL, dtype=np.uint8),
            number=np.zeros(rows),
            has_number=nothing,
            integer=np.zeros(rows, dtype=np.int64),
            text=pa.nulls(rows, pa.string()),
            missing=nothing,
            misfit=nothing,
        ),
        quality_code=np.full(rows, quality.STALE_CODE, dtype=np.int32),
        quality=np.full(rows, quality.STALE, dtype=np.uint8),
        historical=nothing,
        returned=nothing,
        message_type=np.full(rows, message_type, dtype=np.uint8),
        seq=np.full(rows, seq),
        payload_time_us=np.full(rows, payload_time_us),
        received_us=np.full(rows, received_us),
    )


def said_by_host(by_owner: Iterable[SessionTags], at_us: int) -> Observations:
    """Rows of quality STALE that no message gives but the host itself, at `at_us`.

    They are still to be dated, see `ReadTimes`.
    """
    return stale_observations(
        np.concatenate([np.empty(0, dtype=np.int32), *(each.due for each in by_owner)]),
        message_type=ROW_TYPES.index(HOST),
        event_time_us=at_us,
        payload_time_us=ABSENT,
        received_us=at_us,
        seq=ABSENT,
    )
