"""Bodies of posts, as an Ignition Event Stream's handler sends them, to columns of events.

A body is a JSON array of events, or one event. What is wrong with an event costs that event
alone; what is no JSON at all costs the body. The rules are docs/event-streams.md.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from consumer.rows.event_datatypes import (
    INFERRED,
    MOST_OF_DATATYPE,
    UNKNOWN,
    datatype_named,
    datatype_of,
)
from consumer.rows.templates import PathTemplate
from sparkplug import IMPLICIT, MEMBERS, DataType, quality_of_name, scalar_member

MOST_EVENTS: Final = 10_000
"""Events of one body."""
MOST_NAMED: Final = 100
"""Of the events that are dropped so many are named, and all are counted."""
_MOST_CHARACTERS: Final = 4096
"""Of a tag's path, and of the metric name in it: as many as a metric of a birth may have."""
_MOST_SEPARATORS: Final = 32 * MOST_EVENTS
"""Commas between things of a body: more make lists of millions, of which none is an event."""
_LAST_MILLISECOND: Final = 253_402_300_799_999  # year 9999
_UINT64: Final = 2**64 - 1

# One without an end goes to that of the body: it is not tried again from each quote in it.
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NO_NUMBER: Final = re.compile(_TEXT.pattern + rb"|-?\b(?:NaN|Infinity)\b", re.DOTALL)

_NOT_JSON: Final = (b"NaN", b"Infinity", rb"\ud", rb"\uD")
_MOST_TEXTS: Final = 40 * MOST_EVENTS
"""Quotes, escapes, and what is no number, of a body that is mended: each takes its time."""
_MOST_TEXTS_AT_ONCE: Final = 5_000
_MOST_EVENTS_AT_ONCE: Final = 500
"""The same, and events of a body in which one is none, if that is not to hold up others."""
# Nothing but whole escapes is mended: no quote gets lost, so a second time there is nothing.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB]XX\\u[dD][c-fC-F]XX|(?P<half>u[dD][89a-fA-F]XX)|.)".replace(
        b"X", b"[0-9a-fA-F]"
    ),
    re.DOTALL,
)

_CODE_OF_MEMBER: Final = {name: code for code, name in enumerate(MEMBERS)}
_NULL: Final = _CODE_OF_MEMBER["is_null"]
_DOUBLE: Final = _CODE_OF_MEMBER["double_value"]
_BOOLEAN: Final = _CODE_OF_MEMBER["boolean_value"]
_STRING: Final = _CODE_OF_MEMBER["string_value"]
_DOUBLE_TYPE: Final = int(DataType.Double)
_BOOLEAN_TYPE: Final = int(DataType.Boolean)
_STRING_TYPE: Final = int(DataType.String)
_TEXTS: Final = frozenset({_STRING_TYPE, int(DataType.Text), int(DataType.UUID)})
_FLOATING: Final = frozenset({_DOUBLE_TYPE, int(DataType.Float)})


class Refusal(StrEnum):
    """Why an event is dropped."""

    BAD_EVENT = "bad_event"
    TAG_PATH_MISSING = "tag_path_missing"
    TAG_PATH_TOO_LONG = "tag_path_too_long"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    VALUE_NOT_SCALAR = "value_not_scalar"


class Note(StrEnum):
    """What is remarked of an event that is accepted."""

    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    VALUE_MISSING = "value_missing"
    UNKNOWN_DATATYPE = "unknown_datatype"
    UNKNOWN_QUALITY = "unknown_quality"


TEXTS: Final = {
    Refusal.TAG_PATH_MISSING: "tagPath has no name; send the path of the tag, "
    "such as [default]Line 1/Speed",
    Refusal.TAG_PATH_TOO_LONG: f"tagPath has more than {_MOST_CHARACTERS} characters; "
    "see what the handler sends as tagPath",
    Refusal.NUMBER_OUT_OF_RANGE: "value is a number beyond 64 bits; send it as text, with the "
    "dataType String",
    Refusal.VALUE_NOT_SCALAR: "value is neither a number, a boolean, text nor null; "
    "send arrays and data sets as text, for example with system.util.jsonEncode",
}
"""What is wrong with an event, and how that is mended. Of BAD_EVENT each has its own."""
_OUT_OF_RANGE: Final = {
    "value": TEXTS[Refusal.NUMBER_OUT_OF_RANGE],
    "timestamp": "timestamp is a number beyond all dates; send milliseconds since 1970 UTC",
    "qualityCode": "qualityCode is a number beyond all codes; send Ignition's code, of 32 bits",
}
"""The same of a number that the decoder cannot read, by the key that has it."""


class BodyError(ValueError):
    """Nothing of a body can be read. The text says what is wrong, and quotes nothing of it.

    Attributes:
        too_large: whether there is too much of it.
    """

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


class TakesLong(Exception):  # noqa: N818 - no failure: it is to be done elsewhere
    """A body was to be read at once, and has things that are to be looked at one by one."""


@dataclass(frozen=True, slots=True, order=True)
class DroppedEvent:
    """An event that is dropped: its place in the body, the reason, and how to mend it."""

    index: int
    reason: Refusal
    text: str


class _Event(msgspec.Struct, rename="camel", gc=False):
    """One event as it is sent. Other keys are left out."""

    tag_path: str
    tag_provider: str | None = None
    value: bool | int | float | str | msgspec.UnsetType | None = msgspec.UNSET
    quality: str | None = None
    quality_code: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**32 - 1)] | None = None
    timestamp: int | float | None = None
    data_type: str | None = None


_WHOLE: Final = msgspec.json.Decoder(list[_Event] | _Event)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ONE: Final = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Events:
    """Events that are accepted, as columns, in the order of the body.

    Attributes:
        paths: of the tags, with the provider in brackets.
        datatypes: codes of datatypes.
        members: of each value the member it is in, as an index of MEMBERS.
        values: in the form that the member has on the wire; None where there is none.
        times_us: event times, microseconds since 1970 UTC.
        quality_codes: signed 32 bit.
        received_us: when the body came, microseconds since 1970 UTC.
    """

    received_us: int
    paths: list[str] = field(default_factory=list)
    datatypes: bytearray = field(default_factory=bytearray)
    members: bytearray = field(default_factory=bytearray)
    values: list[Any] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    quality_codes: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(slots=True)
class ReadBody:
    """A body that was read.

    Attributes:
        events: that are accepted.
        refused: the first MOST_NAMED of the events that are dropped, in the order of the body.
        dropped: how many are, by reason.
        notes: how many are remarked of those that are accepted, by what is remarked.
    """

    events: Events
    refused: list[DroppedEvent] = field(default_factory=list)
    dropped: Counter[Refusal] = field(default_factory=Counter)
    notes: Counter[Note] = field(default_factory=Counter)

    def drop(self, index: int, reason: Refusal, text: str) -> None:
        """Drop the event in a place of the body; in any order."""
        self.dropped[reason] += 1
        if len(self.refused) == MOST_NAMED:
            if self.refused[-1].index < index:
                return
            self.refused.pop()
        insort(self.refused, DroppedEvent(index, reason, text))


def read_body(body: bytes, received_us: int, *, at_once: bool = False) -> ReadBody:
    """Read the body of a post that came at `received_us`, microseconds since 1970 UTC.

    `at_once`: do only what takes no longer for the size of the body than if all is well.

    Raises:
        BodyError: it is no JSON, no array and no object, or has too many events.
        TakesLong: it is not read, as that would not be done at once.
    """
    if body.count(b",") > _MOST_SEPARATORS and _TEXT.sub(b"", body).count(b",") > _MOST_SEPARATORS:
        raise BodyError(f"more than {MOST_EVENTS} events; send fewer at a time", too_large=True)
    into = ReadBody(Events(received_us))
    events = _decoded(body, into, at_once=at_once)
    _refuse_more_than_may_be(len(events))
    _read(events, into)
    return into


def _refuse_more_than_may_be(events: int) -> None:
    if events > MOST_EVENTS:
        raise BodyError(
            f"{events} events are more than {MOST_EVENTS}; send fewer at a time", too_large=True
        )


def _decoded(body: bytes, into: ReadBody, *, at_once: bool) -> list[_Event | None]:
    """The events of a body, None in the place of those that are none, which are dropped."""
    try:
        found = _WHOLE.decode(body)
    except msgspec.ValidationError:
        return _one_by_one(body, into, at_once=at_once)
    except msgspec.DecodeError as error:
        return _decoded(_mended(body, error, at_once=at_once), into, at_once=at_once)
    except RecursionError as error:
        raise BodyError("nested too deeply; an event has no objects in it") from error
    return list(found) if isinstance(found, list) else [found]


def _mended(body: bytes, error: msgspec.DecodeError, *, at_once: bool) -> bytes:
    """A body with what some encoders write in the place of JSON, as JSON.

    Raises:
        BodyError: there is nothing that can be mended.
    """
    if any(each in body for each in _NOT_JSON):
        texts = _texts(body)
        if at_once and texts > _MOST_TEXTS_AT_ONCE:
            raise TakesLong
        if texts <= _MOST_TEXTS:
            plain = _NO_NUMBER.sub(_as_json, body)
            if plain != body:
                return plain
    raise BodyError(f"no JSON: {error}") from error


def _texts(body: bytes) -> int:
    """A measure of how long it takes to look at each text of a body, and what is no number."""
    odd = body.count(b"NaN") + body.count(b"Infinity")
    return max(body.count(b'"'), body.count(b"\\"), odd)


def _one_by_one(body: bytes, into: ReadBody, *, at_once: bool) -> list[_Event | None]:
    """The same of a body in which something is no event."""
    try:
        parts = _PARTS.decode(body)
    except msgspec.ValidationError as error:
        if body.lstrip()[:1] != b"{":
            raise BodyError("neither an array of events nor one event") from error
        parts = [msgspec.Raw(body)]
    except msgspec.DecodeError as error:  # behind what is no event, where nobody has looked yet
        return _one_by_one(_mended(body, error, at_once=at_once), into, at_once=at_once)
    except RecursionError as error:
        raise BodyError("nested too deeply; an event has no objects in it") from error
    _refuse_more_than_may_be(len(parts))
    if at_once and len(parts) > _MOST_EVENTS_AT_ONCE:
        raise TakesLong
    events: list[_Event | None] = []
    for index, part in enumerate(parts):
        try:
            events.append(_ONE.decode(part))
        except (msgspec.DecodeError, RecursionError) as error:
            events.append(None)
            into.drop(index, *_refusal(str(error)))
    return events


def _refusal(error: str) -> tuple[Refusal, str]:
    """Why something is no event, and how to mend it, from what the decoder says of it."""
    if "out of range" in error:
        key = error.rpartition("`$.")[2].rstrip("`")
        text = _OUT_OF_RANGE.get(key, f"{key} is a number; send it as text")
        return Refusal.NUMBER_OUT_OF_RANGE, text
    if error.startswith("Object missing required field `tagPath`"):
        reason = Refusal.TAG_PATH_MISSING
    elif error.endswith("`$.value`"):
        reason = Refusal.VALUE_NOT_SCALAR
    else:
        return Refusal.BAD_EVENT, f"{error}; see docs/event-streams.md"
    return reason, TEXTS[reason]


def _as_json(found: re.Match[bytes]) -> bytes:
    """What some encoders write as it is, as JSON: NaN as text, half a character as U+FFFD."""
    text = found.group()
    if text[:1] != b'"':
        return b'"' + text + b'"'
    return _ESCAPE.sub(_whole_character, text) if b"\\u" in text else text


def _whole_character(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found.lastgroup else found.group()


def _read(events: list[_Event | None], into: ReadBody) -> None:
    """Put events into columns."""
    columns, notes = into.events, into.notes
    for index, event in enumerate(events):
        if event is None:
            continue
        path = event.tag_path
        if path[:1] != "[" and event.tag_provider:
            path = f"[{event.tag_provider}]{path}"
        name = event.data_type
        datatype = INFERRED if name is None else datatype_named(name[:MOST_OF_DATATYPE])
        if datatype < 0:
            if datatype == UNKNOWN:
                notes[Note.UNKNOWN_DATATYPE] += 1
            datatype = datatype_of(event.value)
        refusal = _refusal_of(path, event.value, datatype)
        if refusal is not None:
            into.drop(index, refusal, TEXTS[refusal])
            continue
        member, value = _member(event.value, datatype)
        if value is msgspec.UNSET:
            notes[Note.VALUE_MISSING] += 1
            value = None
        columns.paths.append(path)
        columns.datatypes.append(datatype)
        columns.members.append(member)
        columns.values.append(value)
        columns.times_us.append(_time_us(event.timestamp, columns.received_us, notes))
        columns.quality_codes.append(_quality_code(event, notes))


def _refusal_of(path: str, value: Any, datatype: int) -> Refusal | None:
    """Why an event is dropped; None if it is not."""
    if len(path) > _MOST_CHARACTERS:
        return Refusal.TAG_PATH_TOO_LONG
    if not path or path[-1] == "/" or (path[-1] == "]" and not PathTemplate.name_in(path)):
        return Refusal.TAG_PATH_MISSING
    if type(value) is int and not -(2**63) <= value <= _UINT64:
        most = 2**1023 if datatype in _FLOATING else 0
        if abs(value) > most:
            return Refusal.NUMBER_OUT_OF_RANGE
    return None


def _member(value: Any, datatype: int) -> tuple[int, Any]:
    """The member that a value is in, and the value there."""
    if value is None or value is msgspec.UNSET:
        return _NULL, value
    kind = type(value)
    if kind is float and datatype == _DOUBLE_TYPE:
        return _DOUBLE, value
    if kind is str and datatype in _TEXTS:
        return _STRING, value
    if kind is bool and datatype == _BOOLEAN_TYPE:
        return _BOOLEAN, value
    name, found = scalar_member(DataType(datatype), value)
    return _CODE_OF_MEMBER[name], found


def _time_us(timestamp: float | None, received_us: int, notes: Counter[Note]) -> int:
    """The event time: milliseconds since 1970 as they are given, else when the body came."""
    if timestamp is None:
        notes[Note.TIMESTAMP_MISSING] += 1
    elif 0 <= timestamp <= _LAST_MILLISECOND:
        return int(timestamp * 1000)
    else:
        notes[Note.TIMESTAMP_OUT_OF_RANGE] += 1
    return received_us


def _quality_code(event: _Event, notes: Counter[Note]) -> int:
    """The code that is given, else that of the name that is given, else good; signed 32 bit."""
    code = event.quality_code
    if code is None:
        if event.quality is None:
            return IMPLICIT
        code = quality_of_name(event.quality)
        if code is None:
            notes[Note.UNKNOWN_QUALITY] += 1
            code = _UNCERTAIN
    return code - 2**32 if code >= 2**31 else code


_UNCERTAIN: Final = 0x4000_0100
"""Ignition's Uncertain: the quality of a value whose quality has a name that nobody knows."""
