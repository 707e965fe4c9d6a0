"""What is shown of the wire as lines: for people, in pieces with a style, and as JSON.

Every text that others wrote is cut and escaped here: a line is one line, and of bounded length.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.foreign import escaped
from consumer.rows import COLUMNS
from consumer.tap.fitting import BETWEEN, CUT, Field, fitted
from consumer.tap.items import Change, Heard, Row

if TYPE_CHECKING:
    from consumer.tap.items import Item

MOST_RAW_BYTES: Final = 1024 * 1024
"""Bytes of a payload that are written in hex; of a longer one it is said how many are left out."""

_MOST_CHARACTERS: Final = 300
"""Characters of a text in a line for people."""
_MOST_JSON_CHARACTERS: Final = 65_536
"""Characters of a text in a line of JSON."""
_MOST_NAME: Final = 4_096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000
_TIMES: Final = frozenset(each.name for each in COLUMNS if each.delta_type == "TIMESTAMP")
_STYLES: Final = {"GOOD": "green", "UNCERTAIN": "yellow", "STALE": "yellow", "BAD": "bold red"}
_FLOAT_DIGITS: Final = 7
_SHORT_DIGITS: Final = 10
_DATA: Final = frozenset({"NDATA", "DDATA"})
_NO_SCALAR: Final = frozenset({"Template", "PropertySet", "PropertySetList"})


class Piece(NamedTuple):
    """A part of a line, with the style of `rich` that it has on a terminal."""

    text: str
    style: str = ""


def pieces_of(item: Item, *, with_server: bool, raw: bool, width: int | None) -> list[Piece]:
    """The line of an item for people.

    Args:
        item: what is shown; no row.
        with_server: whether it says which server it came from.
        raw: whether a message is shown with its payload in hex.
        width: cells that the line may take; None: where there is no width to heed.
    """
    assert not isinstance(item, Row)
    if isinstance(item, Change):
        fields = _of_change(item, short=width is not None)
    elif raw:
        fields = _of_raw(item, width)
    else:
        fields = _of_message(item, short=width is not None)
    if with_server:
        fields.insert(1, Field(item.server, "magenta"))
    if width is not None:
        fields = fitted(fields, width)
    pieces: list[Piece] = []
    for field in fields:
        if pieces:
            pieces.append(Piece(BETWEEN))
        pieces.append(Piece(field.text, field.style))
    return pieces


def json_of(item: Item, *, raw: bool) -> dict[str, Any]:
    """The JSON of an item. But in rows long texts are cut, and it is said how long they were."""
    if isinstance(item, Row):
        return {
            name: iso(value) if name in _TIMES else _finite(value)
            for name, value in item.columns.items()
        }
    if isinstance(item, Change):
        return _change_json(item)
    shown: dict[str, Any] = {
        "received": iso(item.received_us),
        "server": item.server,
        "type": item.kind or None,
        "topic": item.topic,
        "retained": item.retained,
        "bytes": len(item.payload),
    }
    if raw:
        return shown | {"payload": item.payload[:MOST_RAW_BYTES].hex()} | _left_out(item.payload)
    if item.kind == "STATE":
        return shown | {"state": _text(item.payload, _MOST_JSON_CHARACTERS)}
    return shown | {
        "seq": item.seq,
        "timestamp": None if item.sent_us is None else iso(item.sent_us),
        "metrics": item.metrics,
        "problem": item.problem or None,
    }


def iso(at_us: int) -> str:
    """A time in µs since 1970 UTC, as ISO 8601 in UTC; as a number where no calendar has it."""
    try:
        moment = _EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        return str(at_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


# ------------------------------------------------------------------ for people


def _of_change(change: Change, *, short: bool) -> list[Field]:
    quality = change.quality
    name = f"alias {change.alias}" if change.metric is None else _shown(change.metric)
    value = _value(change, short=short)
    is_text = isinstance(change.value, str)  # of a number no digit is cut off
    fields = [
        Field(_time(change.event_us, change.received_us, short=short), "dim"),
        Field(_shown(change.place), "cyan", 16),
        Field(name, "dim" if change.metric is None else "bold", 16, keeps_end=True),
        Field(f"{value} {_shown(change.unit)}" if change.unit else value, "", 16 * is_text),
        Field(quality, _STYLES.get(quality, "")),
    ]
    if change.historical:
        fields.append(Field("H", "blue"))
    if change.kind not in _DATA:
        fields.append(Field(change.kind, "dim"))
    if change.note:
        fields.append(Field(f"({change.note})", "yellow"))
    return fields


def _of_message(message: Heard, *, short: bool) -> list[Field]:
    fields = _begin(message, short=short)
    if message.kind == "STATE":
        return [*fields, Field(_text(message.payload, _MOST_CHARACTERS), "", 16)]
    if message.seq is not None:
        fields.append(Field(f"seq {message.seq}"))
    if message.metrics is not None:
        fields.append(Field(f"{message.metrics} metric{'' if message.metrics == 1 else 's'}"))
    size = len(message.payload)
    fields.append(Field(f"{size} byte{'' if size == 1 else 's'}", "dim"))
    if message.retained:
        fields.append(Field("retained", "yellow"))
    if message.problem:
        fields.append(Field(f"cannot be read: {message.problem}", "bold red"))
    return fields


def _of_raw(message: Heard, width: int | None) -> list[Field]:
    fields = [field for field in _begin(message, short=width is not None) if field.text]
    if message.retained:
        fields.append(Field("retained", "yellow"))
    if width is None:
        most = MOST_RAW_BYTES
        left = len(message.payload) - most
        more = f" ... ({left} bytes more)" if left > 0 else ""
        return [*fields, Field(message.payload[:most].hex() + more)]
    return [*fields, Field(message.payload[:width].hex(), "", 16)]


def _begin(message: Heard, *, short: bool) -> list[Field]:
    style = "bold" if message.kind.endswith(("BIRTH", "DEATH")) else ""
    return [
        Field(_time(message.received_us, message.received_us, short=short), "dim"),
        Field(message.kind or "-", style),
        Field(_shown(message.topic), "cyan", 24, keeps_end=True),
    ]


def _time(at_us: int, received_us: int, *, short: bool) -> str:
    """A time in UTC; without the day where there is no room, and it is that of the arrival."""
    text = iso(at_us)
    if short and text.endswith("Z") and at_us // _DAY_US == received_us // _DAY_US:
        return text[11:23]
    return f"{text[:23]}Z" if text.endswith("Z") else text


def _value(change: Change, *, short: bool) -> str:
    value = change.value
    if value is None:
        return f"({change.datatype})" if change.datatype in _NO_SCALAR else "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + _shown(value.replace('"', '\\"')) + '"'
    if change.datatype == "DateTime" and isinstance(value, int):
        return iso(1_000 * value)
    if isinstance(value, float) and (short or change.datatype == "Float"):
        return f"{value:.{_FLOAT_DIGITS if change.datatype == 'Float' else _SHORT_DIGITS}g}"
    return str(value)


def _shown(text: str) -> str:
    """A text of others on one line, cut: before it is escaped, which makes it longer, and after."""
    if len(text) <= _MOST_CHARACTERS:
        shown = escaped(text)
        if len(shown) <= _MOST_CHARACTERS:
            return shown
    else:
        shown = escaped(text[:_MOST_CHARACTERS])
    return f"{shown[:_MOST_CHARACTERS]}{CUT} ({len(text)} characters)"


def _text(payload: bytes, most: int) -> str:
    text = payload[: 4 * most].decode("utf-8", "backslashreplace")
    return _shown(text) if most == _MOST_CHARACTERS else text[:most]


# ------------------------------------------------------------------ for programs


def _change_json(change: Change) -> dict[str, Any]:
    value = change.value
    shown = {
        "time": iso(change.event_us),
        "received": iso(change.received_us),
        "server": change.server,
        "group": change.group_id,
        "node": change.edge_node_id,
        "device": change.device_id,
        "metric": None if change.metric is None else change.metric[:_MOST_NAME],
        "type": change.kind,
        "value": _plain(value),
        "datatype": change.datatype,
        "unit": change.unit or None,
        "quality": change.quality,
        "quality_code": change.quality_code,
        "historical": change.historical,
        "seq": change.seq,
    }
    if change.metric is None:
        shown["alias"] = change.alias
    if change.note:
        shown["note"] = change.note
    if isinstance(value, str) and len(value) > _MOST_JSON_CHARACTERS:
        shown["characters"] = len(value)
    return shown


def _plain(value: Any) -> Any:
    """A value no longer than it may be."""
    return value[:_MOST_JSON_CHARACTERS] if isinstance(value, str) else _finite(value)


def _finite(value: Any) -> Any:
    """A value that JSON has."""
    is_number = not isinstance(value, float) or math.isfinite(value)
    return value if is_number else str(value)


def _left_out(payload: bytes) -> dict[str, int]:
    left = len(payload) - MOST_RAW_BYTES
    return {"bytes_left_out": left} if left > 0 else {}
