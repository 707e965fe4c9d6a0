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
    from sparkplug.host.structured_rows import Flattened

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

    Their event times are settled when all rows of the batch are known, by `ReadTimes.look`.
    """

    turn: int
    rows: Observations
    by_owner: list[SessionTags]


class Began(NamedTuple):
    """The turn of a birth, and the tags that it declares."""

    turn: int
    tags: NDArray[np.int32]


class Circumstances(NamedTuple):
    """What is known of the metrics of a batch beside themselves.

    Args:
        message_type: per message, the code of its type.
        received_us: per message, when it came, microseconds since 1970 UTC.
        ignition: per metric, whether its publisher is Ignition, whose quality code 0 is good.
        late: per metric, whether it is read late, or was held; None if none is.
        turn: per metric, a number that grows in the order in which they are read; None if that
            is the order of arrival.
    """

    message_type: NDArray[np.uint8]
    received_us: NDArray[np.int64]
    ignition: NDArray[np.bool_]
    late: NDArray[np.bool_] | None
    turn: NDArray[np.int64] | None


class RowChoice(NamedTuple):
    """Which metrics give rows: those in births, too, and those that are transient."""

    births: bool
    transient: bool


class _Wanted:
    """The metrics that give rows, among all metrics of a batch, in their order."""

    def __init__(self, columns: PayloadColumns, is_wanted: NDArray[np.bool_], count: int) -> None:
        self._columns = columns
        self._is_wanted = is_wanted
        self._rows = None if count == len(is_wanted) else np.flatnonzero(is_wanted)
        self._selection = None if self._rows is None else pa.array(self._rows)

    def field(self, name: str) -> pa.Array:
        """A field of the metrics, by its name on the wire."""
        array: Any = self._columns.metric(name)
        return array if self._selection is None else array.take(self._selection)

    def of(self, by_metric: NDArray[T]) -> NDArray[T]:
        """What holds for all metrics of the batch, for these."""
        return by_metric if self._rows is None else by_metric[self._rows]

    def of_message(self, by_message: NDArray[T]) -> NDArray[T]:
        """What holds for the messages of the batch, for the metrics of each."""
        return self.of(self._columns.per_metric(by_message))

    def by_position(self, texts: Mapping[int, str]) -> Mapping[int, str]:
        """Texts by position in the batch, by position among these metrics."""
        rows = self._rows
        if rows is None:
            return texts
        return {
            int(np.searchsorted(rows, row)): text
            for row, text in texts.items()
            if self._is_wanted[row]
        }


def observe(
    metrics: Flattened,
    circumstances: Circumstances,
    catalogue: TagCatalogue,
    choice: RowChoice,
    counts: Counter[Reason],
) -> Observed | None:
    """Rows of a batch, in the order in which messages are read; None if it has none.

    Args:
        metrics: with their tags, NO_TAG for metrics that give no row.
        circumstances: of these metrics, and of the messages that they came in.
        catalogue: of the tags.
        choice: what is left out on purpose.
        counts: what is wrong with metrics is added there.
    """
    datatype = catalogue.datatype_of(metrics.tag)
    reading, width = reading_and_width(datatype)
    is_wanted = catalogue.gives_rows(metrics.tag)
    _leave_out(is_wanted, metrics.columns, reading, choice, counts)
    if not choice.births:
        is_birth = np.isin(circumstances.message_type, _BIRTHS)
        is_wanted &= metrics.columns.per_metric(~is_birth)
    count = int(count_nonzero(is_wanted))
    if count == 0:
        return None
    wanted = _Wanted(metrics.columns, is_wanted, count)
    reading = wanted.of(reading)
    values = read_values(
        wanted.field,
        reading,
        wanted.of(width),
        wanted.of(datatype),
        wanted.by_position(metrics.texts),
    )
    found = _rows(metrics, circumstances, wanted, values, counts)
    _count(
        counts,
        (Reason.VALUE_MISSING, values.missing),
        (Reason.VALUE_DOES_NOT_FIT, values.misfit),
        (Reason.UNKNOWN_DATATYPE, reading == _AS_FOUND),
    )
    late = None if circumstances.late is None else wanted.of(circumstances.late)
    if circumstances.turn is None:
        return Observed(found, NO_TURNS, late)
    return _in_order_of_reading(found, wanted.of(circumstances.turn), late)


def _rows(
    metrics: Flattened,
    circumstances: Circumstances,
    wanted: _Wanted,
    values: Values,
    counts: Counter[Reason],
) -> Observations:
    """One row for each metric that is wanted, in the order of arrival."""
    seq = metrics.columns.seq
    payload_us = in_microseconds(metrics.columns.timestamp_ms)
    code = quality.codes(wanted.field("properties"))
    if count_nonzero(values.misfit):
        code[values.misfit] = quality.DOES_NOT_FIT
    return Observations(
        tag=wanted.of(metrics.tag),
        event_time_us=_event_times(wanted, payload_us, circumstances.received_us, counts),
        values=values,
        quality_code=code,
        quality=quality.classes(code, wanted.of(circumstances.ignition)),
        historical=booleans(wanted.field("is_historical")),
        returned=wanted.of(metrics.returned),
        message_type=wanted.of_message(circumstances.message_type),
        seq=wanted.of_message(np.where(seq < BEYOND_SEQ, seq, ABSENT)),
        payload_time_us=wanted.of_message(payload_us),
        received_us=wanted.of_message(circumstances.received_us),
    )


def _event_times(
    wanted: _Wanted,
    payload_us: NDArray[np.int64],
    received_us: NDArray[np.int64],
    counts: Counter[Reason],
) -> NDArray[np.int64]:
    """When each value was: by its metric, else by the payload, else when the message came.

    All are microseconds since 1970 UTC; `payload_us` and `received_us` are per message.
    """
    metric_ms, unusable = timestamps(wanted.field("timestamp"))
    _count(counts, (Reason.TIMESTAMP_OUT_OF_RANGE, unusable))
    event_time_us = metric_ms * _US_PER_MS
    if metric_ms.min() == ABSENT:
        fallback_us = wanted.of_message(np.where(payload_us == ABSENT, received_us, payload_us))
        event_time_us = np.where(metric_ms == ABSENT, fallback_us, event_time_us)
    return event_time_us


def _in_order_of_reading(
    found: Observations, turns: NDArray[np.int64], late: NDArray[np.bool_] | None
) -> Observed:
    """Rows in the order of their turns, those of equal turn in the order of arrival."""
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
    choice: RowChoice,
    counts: Counter[Reason],
) -> None:
    """Take from the wanted metrics what is left out on purpose, and count it."""
    is_transient = columns.metric("is_transient")
    if not choice.transient and is_transient.null_count < len(wanted):
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

    Their event times are still to be settled, by `ReadTimes.date`.
    """
    return stale_observations(
        np.concatenate([np.empty(0, dtype=np.int32), *(each.due for each in by_owner)]),
        message_type=ROW_TYPES.index(HOST),
        event_time_us=at_us,
        payload_time_us=ABSENT,
        received_us=at_us,
        seq=ABSENT,
    )
