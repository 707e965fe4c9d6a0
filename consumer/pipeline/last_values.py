"""The last value of every tag of one MQTT server, how many rows it gave, and the last rows of all.

For who looks, not for the pipeline. A batch costs some ten array operations: its rows are copied
into a ring, and from there, many at a time, to the places of their tags. That is done by who looks,
or by the decoding thread when half of the ring is full.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkplug import QUALITY_NAMES, ROW_TYPES, ValueKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sparkplug import Observations, TagCatalogue

_LOG = logging.getLogger(__name__)

RING_ROWS: Final = 65_536
"""Rows that are remembered of all servers together."""
LONGEST_TEXT: Final = 1_000
"""Characters of a text that are remembered."""
MOST_WATCHED: Final = 50
"""Tags that are looked at at a time; of more the one that was looked at first is forgotten."""
MOST_VALUES: Final = 500
"""Values of a tag that is looked at."""

_MOST_TEXT_BYTES: Final = 2 << 20
_MOST_PARTS: Final = 256
_WATCHED_SECONDS: Final = 300.0
_BITS, _EVENT, _RECEIVED, _HOW = range(4)
_CODE_SHIFT: Final = 32
_TYPE_SHIFT: Final = 8
_QUALITY_SHIFT: Final = 4
_HISTORICAL: Final = 1 << 16
_KIND: Final = 0xF

Column = np.ndarray[tuple[int], np.dtype[np.int64]]


class Value(NamedTuple):
    """One row of a tag, as far as it is remembered. Times are µs since 1970 UTC.

    `value` is None for a null, and for a text that is not remembered any more.
    """

    value: float | int | bool | str | None
    event_us: int
    received_us: int
    quality: str
    quality_code: int
    historical: bool
    message_type: str
    kind: int


class _Watched(NamedTuple):
    values: deque[Value]
    until: float


class LastValues:
    """Remembers the last values of one server's tags. Thread-safe; `note` is the decoding thread's.

    Nothing holds the lock for longer than it takes to copy a few columns.

    A row is four numbers, each in a column: the value's 64 bits (of a text its number), event time,
    time of arrival, and how it came: quality code, history, message type, quality and kind.

    Args:
        catalogue: of the tags; tells when their ids change.
        clock: monotonic seconds.
        ring_rows: rows that are remembered one by one.
    """

    def __init__(
        self, catalogue: TagCatalogue, clock: Callable[[], float], ring_rows: int = RING_ROWS
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._size = 2 * max(1, ring_rows // 2)
        self._ring = _columns(self._size)
        self._ring_tags = np.full(self._size, -1, dtype=np.int64)
        self._noted = self._folded = 0  # rows since the start; those of the ring are the last
        self._last = _columns(1024)
        self._counts = np.zeros(1024, dtype=np.int64)
        self._texts = _Texts()
        self._watched: dict[int, _Watched] = {}
        self._failed = False
        catalogue.on_renamed.append(self._rename)

    # ------------------------------------------------------------------ the decoding thread

    def note(self, observations: Observations) -> None:
        """Remember the rows of a batch; what fails here costs no rows, and is not tried again."""
        if self._failed:
            return
        try:
            self._note(observations)
        except Exception:  # noqa: BLE001 - see above
            self._failed = True
            _LOG.exception("the page has no new values of tags from now on")

    def _note(self, observations: Observations) -> None:
        tags, values = observations.tag, observations.values
        bits = values.integer
        numeric = values.kind == ValueKind.NUMERIC
        count = int(np.count_nonzero(numeric))
        if count == len(numeric):
            bits = values.number.view(np.int64)
        elif count:
            bits = np.where(numeric, values.number.view(np.int64), bits)
        how = observations.quality_code.astype(np.int64)
        how <<= _CODE_SHIFT
        how |= values.kind
        how |= observations.message_type.astype(np.int64) << _TYPE_SHIFT
        if np.count_nonzero(observations.quality):
            how |= observations.quality.astype(np.int64) << _QUALITY_SHIFT
        if np.count_nonzero(observations.historical):
            how[observations.historical] |= _HISTORICAL
        with self._lock:
            if values.text.null_count < len(tags):
                bits = self._with_texts(bits, values.kind, values.text)
            columns = (bits, observations.event_time_us, observations.received_us, how)
            step = self._size // 2
            for start in range(0, len(tags), step):
                stop = min(start + step, len(tags))
                if self._noted - self._folded + stop - start > step:
                    self._fold()
                self._append(tags[start:stop], [column[start:stop] for column in columns])

    def _append(self, tags: NDArray[np.int32], columns: list[Column]) -> None:
        begin = self._noted % self._size
        first = min(len(tags), self._size - begin)
        self._ring_tags[begin : begin + first] = tags[:first]
        for ring, column in zip(self._ring, columns, strict=True):
            ring[begin : begin + first] = column[:first]
        left = len(tags) - first
        if left:
            self._ring_tags[:left] = tags[first:]
            for ring, column in zip(self._ring, columns, strict=True):
                ring[:left] = column[first:]
        self._noted += len(tags)

    def _with_texts(self, bits: Column, kind: NDArray[np.uint8], text: pa.StringArray) -> Column:
        """The bits of a batch's values, with the number of its text for each that is one."""
        rows = np.flatnonzero(kind == ValueKind.TEXT)
        if not len(rows):
            return bits
        if self._texts.nbytes > _MOST_TEXT_BYTES:
            self._forget_texts()
        with_texts = bits.copy()
        with_texts[rows] = self._texts.add(text.take(pa.array(rows)))
        return with_texts

    def _forget_texts(self) -> None:
        """Keep the texts of last values only, and if they are too many, the latest."""
        self._fold()
        is_text = (self._last[_HOW] & _KIND) == ValueKind.TEXT
        self._texts.keep(np.unique(self._last[_BITS][is_text]), _MOST_TEXT_BYTES // 2)

    # ------------------------------------------------------------------ under the lock

    def _fold(self) -> None:
        """Bring what is new in the ring to the places of its tags."""
        count = self._noted - self._folded
        if not count:
            return
        begin = self._folded % self._size
        first = min(count, self._size - begin)
        for part in (slice(begin, begin + first), slice(0, count - first)):
            tags, columns = self._ring_tags[part], [column[part] for column in self._ring]
            if not len(tags):
                continue
            self._reserve(int(tags.max()) + 1)
            np.add.at(self._counts, tags, 1)
            historical = (columns[_HOW] & _HISTORICAL).astype(np.bool_)
            if np.count_nonzero(historical):
                tags = tags[~historical]
                columns = [column[~historical] for column in columns]
            for last, column in zip(self._last, columns, strict=True):
                last[tags] = column  # of the rows of one tag the last one stays
        if self._watched:
            self._fold_watched()
        self._folded = self._noted

    def _fold_watched(self) -> None:
        now = self._clock()
        self._watched = {tag: each for tag, each in self._watched.items() if each.until > now}
        numbers = np.arange(self._folded, self._noted)
        tags = self._ring_tags[numbers % self._size]
        for tag, watched in self._watched.items():
            watched.values.extend(self._values(numbers[tags == tag][-MOST_VALUES:]))

    def _reserve(self, size: int) -> None:
        known = len(self._counts)
        if size > known:
            more = max(size, known * 3 // 2) - known
            self._counts = np.pad(self._counts, (0, more))
            self._last = tuple(np.pad(column, (0, more)) for column in self._last)

    def _rename(self, renamed: NDArray[np.int32]) -> None:
        """Tags have other ids from now on; NO_TAG for those that are gone."""
        with self._lock:
            self._fold()
            size = min(len(renamed) - 1, len(self._counts))
            old = np.flatnonzero(renamed[:size] >= 0)
            new = renamed[old]
            room = int(renamed.max(initial=0)) + 1024
            before = (*self._last, self._counts)
            after = tuple(np.zeros(room, dtype=np.int64) for _ in before)
            for one, other in zip(before, after, strict=True):
                other[new] = one[old]
            self._last, self._counts = after[:-1], after[-1]
            self._ring_tags = renamed[self._ring_tags].astype(np.int64)
            self._watched = {
                int(renamed[tag]): each for tag, each in self._watched.items() if renamed[tag] >= 0
            }

    # ------------------------------------------------------------------ for others

    def counts(self, size: int) -> Column:
        """How many rows each of the first `size` tags gave since the start."""
        with self._lock:
            self._fold()
            return _padded(self._counts, size)

    def event_us(self, size: int) -> Column:
        """The event time of the last value of each of the first `size` tags, 0 for none."""
        with self._lock:
            self._fold()
            return _padded(self._last[_EVENT], size)

    def quality(self, size: int) -> NDArray[np.int8]:
        """The quality class of the last value of each of the first `size` tags, -1 for none."""
        with self._lock:
            self._fold()
            how, event = _padded(self._last[_HOW], size), _padded(self._last[_EVENT], size)
        found = ((how >> _QUALITY_SHIFT) & 0xF).astype(np.int8)
        found[event == 0] = -1
        return found

    def read(self, tags: NDArray[np.int32]) -> list[tuple[Value | None, int]]:
        """The last value of each of these tags, None if there was none, and its number of rows."""
        with self._lock:
            self._fold()
            known = tags < len(self._counts)
            at = np.where(known, tags, 0)
            rows = list(zip(*(column[at].tolist() for column in self._last), strict=True))
            values = [self._value(row) if row[_EVENT] else None for row in rows]
            counts = self._counts[at].tolist()
        return [
            (value, count) if is_known else (None, 0)
            for value, count, is_known in zip(values, counts, known.tolist(), strict=True)
        ]

    def history(self, tag: int) -> list[Value]:
        """The last values of a tag, oldest first. From now on for a while more are remembered."""
        now = self._clock()
        with self._lock:
            self._fold()
            watched = self._watched.pop(tag, None)
            if watched is None:
                oldest = max(0, self._noted - self._size)
                places = np.flatnonzero(self._ring_tags == tag)
                numbers = np.sort(oldest + (places - oldest) % self._size)
                values = self._values(numbers[-MOST_VALUES:])
                watched = _Watched(deque(values, maxlen=MOST_VALUES), 0.0)
            self._watched[tag] = watched._replace(until=now + _WATCHED_SECONDS)
            if len(self._watched) > MOST_WATCHED:
                del self._watched[next(iter(self._watched))]
            return list(watched.values)

    def _values(self, numbers: Column) -> list[Value]:
        """The rows with these numbers, which are in the ring."""
        at = numbers % self._size
        rows = zip(*(column[at].tolist() for column in self._ring), strict=True)
        return [self._value(row) for row in rows]

    def _value(self, row: tuple[int, ...]) -> Value:
        bits, event_us, received_us, how = row
        kind = how & _KIND
        value: float | int | bool | str | None = None
        if kind == ValueKind.NUMERIC:
            value = float(np.int64(bits).view(np.float64))
        elif kind == ValueKind.INTEGER:
            value = bits
        elif kind == ValueKind.BOOLEAN:
            value = bool(bits)
        elif kind == ValueKind.TEXT:
            value = self._texts.get(bits)
        return Value(
            value,
            event_us,
            received_us,
            QUALITY_NAMES[(how >> _QUALITY_SHIFT) & 0xF],
            how >> _CODE_SHIFT,
            bool(how & _HISTORICAL),
            ROW_TYPES[(how >> _TYPE_SHIFT) & 0xFF],
            kind,
        )


class _Texts:
    """Texts by their number, cut where they are long; in Arrow arrays, ascending."""

    def __init__(self) -> None:
        self._parts: list[tuple[Column, pa.Array]] = []
        self._firsts: list[int] = []
        self._next = 0
        self.nbytes = 0

    def add(self, texts: pa.Array) -> Column:
        """Remember texts; returns the number of each."""
        if pc.max(pc.binary_length(texts)).as_py() > LONGEST_TEXT:
            texts = pc.utf8_slice_codeunits(texts, 0, LONGEST_TEXT)
        numbers = np.arange(self._next, self._next + len(texts))
        self._next += len(texts)
        self._parts.append((numbers, texts))
        self._firsts.append(int(numbers[0]))
        self.nbytes += texts.nbytes + numbers.nbytes
        if len(self._parts) > _MOST_PARTS:  # each takes a kilobyte, whatever is in it
            self._hold(*self._whole())
        return numbers

    def _whole(self) -> tuple[Column, pa.Array]:
        """All of them in one part."""
        return (
            np.concatenate([each for each, _ in self._parts]),
            pa.concat_arrays([each for _, each in self._parts]),
        )

    def _hold(self, numbers: Column, texts: pa.Array) -> None:
        """Remember these, and nothing else."""
        self._parts = [(numbers, texts)] if len(numbers) else []
        self._firsts = [int(each[0]) for each, _ in self._parts]
        self.nbytes = texts.nbytes + numbers.nbytes

    def get(self, number: int) -> str | None:
        """The text with a number; None if it is forgotten."""
        part = bisect_right(self._firsts, number) - 1
        if part < 0:
            return None
        numbers, texts = self._parts[part]
        place = int(np.searchsorted(numbers, number))
        if place == len(numbers) or numbers[place] != number:
            return None
        text: str = texts[place].as_py()
        return text

    def keep(self, wanted: Column, most_bytes: int) -> None:
        """Forget all but those with the numbers `wanted`, and of these the oldest if need be."""
        if not self._parts:
            return
        numbers, texts = self._whole()
        kept = np.flatnonzero(np.isin(numbers, wanted))
        some = texts.take(pa.array(kept))
        while some.nbytes + 8 * len(kept) > most_bytes:
            kept = kept[len(kept) // 2 :]
            some = texts.take(pa.array(kept))
        self._hold(numbers[kept], some)


def _columns(size: int) -> tuple[Column, ...]:
    return tuple(np.zeros(size, dtype=np.int64) for _ in range(4))


def _padded(column: Column, size: int) -> Column:
    """A copy of the first `size` elements, zeros where there are fewer."""
    found = np.zeros(size, dtype=np.int64)
    known = min(size, len(column))
    found[:known] = column[:known]
    return found
