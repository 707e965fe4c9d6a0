"""From resolved metrics to observations: which rows there are, their values, times, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from sparkplug import quality
from sparkplug.catalogue import READINGS, TagCatalogue
from sparkplug.columns import ABSENT, BEYOND_SEQ, PayloadColumns, booleans, timestamps
from sparkplug.datatypes import Reading
from sparkplug.messages import MESSAGE_TYPES, Observations, Reason
from sparkplug.topics import MessageType
from sparkplug.values import Kind, Values, read_values

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from numpy.typing import NDArray

_COMPLEX: Final = READINGS.index(Reading.COMPLEX)
_AS_FOUND: Final = READINGS.index(Reading.AS_FOUND)
_BIRTHS: Final = [MESSAGE_TYPES.index(t) for t in (MessageType.NBIRTH, MessageType.DBIRTH)]
_US_PER_MS: Final = 1000


def observe(
    *,
    columns: PayloadColumns,
    tag: NDArray[np.int32],
    catalogue: TagCatalogue,
    message_type: NDArray[np.uint8],
    received_us: NDArray[np.int64],
    ignition: NDArray[np.bool_],
    returned: NDArray[np.bool_],
    texts: Mapping[int, str],
    emit_births: bool,
    emit_transient: bool,
    counts: Counter[Reason],
) -> Observations | None:
    """Rows of a batch; None if it has none.

    `tag` is per metric, NO_TAG for metrics that give no row; so is `returned`, the first
    birth value of a tag after a row of quality STALE, and `ignition` (the publisher is
    Ignition, whose quality code 0 is good). `message_type` and `received_us`
    (microseconds since 1970 UTC) are per message.
    """
    wanted = _wanted(columns, tag, catalogue, emit_transient=emit_transient, counts=counts)
    if not emit_births:
        wanted &= np.repeat(~np.isin(message_type, _BIRTHS), np.diff(columns.offsets))
    rows = np.flatnonzero(wanted)
    if len(rows) == 0:
        return None
    selection = None if len(rows) == len(tag) else pa.array(rows)

    def field(name: str) -> pa.Array:
        array: Any = columns.metric(name)
        return array if selection is None else array.take(selection)

    tag = tag[rows]
    message = np.repeat(np.arange(len(message_type)), np.diff(columns.offsets))[rows]
    reading = catalogue.reading_of(tag)
    ready = {int(np.searchsorted(rows, row)): texts[row] for row in texts if wanted[row]}
    values = read_values(field, reading, catalogue.width_of(tag), catalogue.datatype_of(tag), ready)

    payload_ms = columns.timestamp_ms
    payload_us = np.where(payload_ms == ABSENT, ABSENT, payload_ms * _US_PER_MS)
    fallback_us = np.where(payload_ms == ABSENT, received_us, payload_us)[message]
    metric_ms, unusable = timestamps(field("timestamp"))
    event_time_us = np.where(metric_ms == ABSENT, fallback_us, metric_ms * _US_PER_MS)
    if returned.any():
        # A birth may repeat a value from before the death, with its old time; the row says
        # that the value holds again since the birth was sent.
        back = returned[rows]
        event_time_us[back] = np.maximum(event_time_us[back], fallback_us[back])

    code = quality.codes(field("properties"))
    code[values.misfit] = quality.DOES_NOT_FIT
    for reason, count in (
        (Reason.TIMESTAMP_OUT_OF_RANGE, np.count_nonzero(unusable)),
        (Reason.VALUE_MISSING, np.count_nonzero(values.missing)),
        (Reason.VALUE_DOES_NOT_FIT, np.count_nonzero(values.misfit)),
        (Reason.UNKNOWN_DATATYPE, np.count_nonzero(reading == _AS_FOUND)),
    ):
        if count:
            counts[reason] += int(count)
    return Observations(
        tag=tag,
        event_time_us=event_time_us,
        values=values,
        quality_code=code,
        quality=quality.classes(code, ignition[rows]),
        historical=booleans(field("is_historical")),
        message_type=message_type[message],
        seq=np.where(columns.seq < BEYOND_SEQ, columns.seq, ABSENT)[message],
        payload_time_us=payload_us[message],
        received_us=received_us[message],
    )


def _wanted(
    columns: PayloadColumns,
    tag: NDArray[np.int32],
    catalogue: TagCatalogue,
    *,
    emit_transient: bool,
    counts: Counter[Reason],
) -> NDArray[np.bool_]:
    """Which metrics give a row; what is left out on purpose is counted."""
    wanted = catalogue.gives_rows(tag)
    is_transient = columns.metric("is_transient")
    if not emit_transient and is_transient.null_count < len(tag):
        transient = wanted & booleans(is_transient)
        if transient.any():
            counts[Reason.TRANSIENT] += int(np.count_nonzero(transient))
            wanted &= ~transient
    not_scalar = wanted & (catalogue.reading_of(tag) == _COMPLEX)
    if not_scalar.any():
        counts[Reason.DATATYPE_NOT_SUPPORTED] += int(np.count_nonzero(not_scalar))
        wanted &= ~not_scalar
    return wanted


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
            kind=np.full(rows, Kind.NULL, dtype=np.uint8),
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
        message_type=np.full(rows, message_type, dtype=np.uint8),
        seq=np.full(rows, seq),
        payload_time_us=np.full(rows, payload_time_us),
        received_us=np.full(rows, received_us),
    )
