"""Redacts payloads in JSON, in the form that `sparkplug` reads: that of Eclipse Tahu.

Fields that it ignores are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, Final

from consumer.tap.known_types import redacted_bytes
from consumer.tap.property_rules import KEPT_KEYS, kept_text
from sparkplug import COMPRESSED_UUID, DataType

if TYPE_CHECKING:
    from consumer.tap.known_types import TypesOfOwner
    from consumer.tap.pseudonyms import Pseudonyms

_CODES: Final = {each.name.lower(): int(each) for each in DataType}
_ARRAYS: Final = frozenset(each for each in DataType if each.name.endswith("Array"))
_BYTES: Final = frozenset({*_ARRAYS, DataType.Bytes, DataType.File})
_OF_CHARACTERS: Final = frozenset({DataType.Int8Array, DataType.UInt8Array})
_TEXTS: Final = frozenset({DataType.String, DataType.Text, DataType.UUID, DataType.StringArray})
_NUMERIC: Final = frozenset(DataType) - _BYTES - _TEXTS - {DataType.Unknown} | (
    _ARRAYS - _TEXTS - _OF_CHARACTERS
)
_LIKE_NUMBER: Final = re.compile(
    r"[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,4})?|NaN|-?Infinity|true|false", re.ASCII
)
_PLAIN: Final = frozenset(
    {
        *("timestamp", "seq", "alias", "ishistorical", "istransient", "isnull", "size"),
        *("ismultipart", "multipart", "isdefinition", "numberofcolumns", "numofcolumns", "online"),
    }
)
"""Fields with numbers or flags."""

_NAMES: Final = frozenset({"name", "reference", "templateref"})
_WORDS: Final = frozenset({"version", "contenttype", "filename", "filetype", "md5", "description"})
_MOST_DIGITS: Final = 9
"""Digits of a datatype that is written as text; Python reads no more than some thousands."""
_TYPES: Final = frozenset({"datatype", "type"})
_VALUES: Final = frozenset(
    {
        *("value", "intvalue", "longvalue", "floatvalue", "doublevalue", "booleanvalue"),
        *("stringvalue", "bytesvalue", "datasetvalue", "templatevalue", "propertysetvalue"),
        "propertysetsvalue",
    }
)
_OF_TEMPLATE: Final = frozenset(
    {"metrics", "parameters", "reference", "templateref", "isdefinition"}
)
_OF_DATA_SET: Final = frozenset({"rows", "columns", "columnnames"})


def looks_like_json(payload: bytes) -> bool:
    """Whether the first byte that is no white space is a brace."""
    return payload.lstrip()[:1] == b"{"


class JsonRedaction:
    """Redacts JSON.

    Args:
        words: what stands in the place of names and texts.
    """

    def __init__(self, words: Pseudonyms) -> None:
        self._words = words

    def payload(self, types: TypesOfOwner, payload: bytes) -> bytes | None:
        """A payload of metrics; None if it is no JSON object, or nested too deeply."""
        read = _parsed(payload)
        if read is None:
            return None
        try:
            return _written(self._object(types, read, None))
        except RecursionError:  # as `sparkplug` refuses it, earlier or later
            return None

    def state(self, payload: bytes) -> bytes | None:
        """What a host says of itself; None if it is no JSON object, or nested too deeply."""
        read = _parsed(payload)
        if read is None:
            return None
        try:
            return _written({key: self._plain(read[key]) for key in read if _field(key) in _PLAIN})
        except RecursionError:
            return None

    def _object(self, types: TypesOfOwner, fields: dict[str, Any], code: int | None) -> Any:
        """The fields of a payload, a metric, a template, a parameter or metadata."""
        return {
            key: self._member(types, _field(key), value, code)
            for key, value in fields.items()
            if self._is_known(_field(key))
        }

    @staticmethod
    def _is_known(field: str) -> bool:
        more = {"metrics", "parameters", "metadata", "properties", "uuid", "body"}
        return field in _PLAIN | _NAMES | _WORDS | _TYPES | _VALUES | more

    def _member(self, types: TypesOfOwner, field: str, value: Any, code: int | None) -> Any:  # noqa: PLR0911 - a table
        if field in _PLAIN:
            return self._plain(value)
        if field in _NAMES and isinstance(value, str):
            return self._words.name(value)
        if field in _TYPES:
            return self._type(value)
        if field in _VALUES:
            return self._value(types, value, code)
        if field in {"metrics", "parameters"} and isinstance(value, list):
            return [self._metric(types, each) for each in value]
        if field == "metadata" and isinstance(value, dict):
            return self._object(types, value, None)
        if field == "properties":
            return self._properties(value)
        if field == "uuid" and value == COMPRESSED_UUID:
            return value
        return self._text(value)

    def _metric(self, types: TypesOfOwner, metric: Any) -> Any:
        if not isinstance(metric, dict):
            return self._text(metric)
        fields = {_field(key): value for key, value in metric.items()}
        name, alias = fields.get("name"), fields.get("alias")
        name = name if isinstance(name, str) else ""
        alias = alias if isinstance(alias, int) else None
        code = _code(fields)
        if code is not None:
            types.declare(name, alias, code)
        return self._object(types, metric, types.known(name, alias, code))

    # ------------------------------------------------------------------ values

    def _value(self, types: TypesOfOwner, value: Any, code: int | None) -> Any:
        if isinstance(value, str):
            return self._value_text(value, code)
        if isinstance(value, list):
            if code in _OF_CHARACTERS:
                return self._characters(value, code)
            return [self._value(types, each, code) for each in value]
        return self._structure(types, value, code) if isinstance(value, dict) else value

    def _structure(self, types: TypesOfOwner, value: dict[str, Any], code: int | None) -> Any:
        shape = set(map(_field, value))
        if code == DataType.Template or (code is None and shape & _OF_TEMPLATE):
            return self._object(types, value, None)
        if code == DataType.DataSet or (code is None and shape & _OF_DATA_SET):
            return self._data_set(value)
        if code in {DataType.PropertySet, DataType.PropertySetList}:
            return self._properties(value)
        return self._text(value)

    def _value_text(self, text: str, code: int | None) -> str:
        if code in _BYTES:
            try:
                raw = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                return self._words.text(text)
            return base64.b64encode(redacted_bytes(self._words, code, raw)).decode()
        if code in _NUMERIC and _LIKE_NUMBER.fullmatch(text):
            return text
        return self._words.text(text)

    def _characters(self, values: list[Any], code: int | None) -> list[Any]:
        """Numbers of 8 bits, which may be those of a text."""
        if not all(type(each) is int for each in values):
            return [self._text(each) for each in values]
        raw = self._words.raw(bytes(each & 0xFF for each in values))
        return [each - 128 if code == DataType.Int8Array else each for each in raw]

    def _data_set(self, fields: dict[str, Any]) -> Any:
        found: dict[str, Any] = {}
        for key, value in fields.items():
            field = _field(key)
            if field in {"columns", "columnnames"} and isinstance(value, list):
                found[key] = [self._name(each) for each in value]
            elif field == "types" and isinstance(value, list):
                found[key] = [self._type(each) for each in value]
            elif field in _PLAIN:
                found[key] = self._plain(value)
            elif field == "rows" and isinstance(value, list):
                found[key] = [self._row(each) for each in value]
        return found

    def _row(self, row: Any) -> Any:
        if isinstance(row, dict):
            return {key: self._text(row[key]) for key in row if _field(key) == "elements"}
        return self._text(row)

    def _properties(self, properties: Any) -> Any:
        if isinstance(properties, list):
            return [self._properties(each) for each in properties]
        if not isinstance(properties, dict):
            return self._text(properties)
        keys, values = properties.get("keys"), properties.get("values")
        if isinstance(keys, list) and isinstance(values, list):
            named = [key if isinstance(key, str) else "" for key in keys]
            under = [*named, *[""] * len(values)]
            return {
                "keys": [
                    self._key(each) if isinstance(each, str) else self._text(each) for each in keys
                ],
                "values": [
                    self._property(key, each) for key, each in zip(under, values, strict=False)
                ],
            }
        return {self._key(key): self._property(key, each) for key, each in properties.items()}

    def _key(self, key: str) -> str:
        return key if key in KEPT_KEYS else self._words.name(key)

    def _property(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            fields = {_field(each) for each in value}
            if fields & (_TYPES | _VALUES | {"isnull"}):
                return {
                    each: self._typed(key, _field(each), value[each])
                    for each in value
                    if _field(each) in _TYPES | _VALUES | {"isnull"}
                }
        if isinstance(value, dict | list):
            return self._properties(value)
        if isinstance(value, str) and not kept_text(key, value):
            return self._words.text(value)
        return value

    def _typed(self, key: str, field: str, value: Any) -> Any:
        if field in _TYPES:
            return self._type(value)
        return self._plain(value) if field == "isnull" else self._property(key, value)

    # ------------------------------------------------------------------ leaves

    def _plain(self, value: Any) -> Any:
        """A number or a flag, also where it is written as text; anything else is replaced."""
        if isinstance(value, str) and _LIKE_NUMBER.fullmatch(value):
            return value
        return self._text(value)

    def _type(self, value: Any) -> Any:
        is_name = isinstance(value, str) and value.lower() in _CODES
        return value if is_name else self._plain(value)

    def _name(self, value: Any) -> Any:
        """A name; in its place there may be anything."""
        return self._words.name(value) if isinstance(value, str) else self._text(value)

    def _text(self, value: Any) -> Any:
        """Anything, with all its texts replaced; numbers and flags stay."""
        if isinstance(value, str):
            return self._words.text(value)
        if isinstance(value, list):
            return [self._text(each) for each in value]
        if isinstance(value, dict):
            return {self._words.name(key): self._text(each) for key, each in value.items()}
        return value


def _field(key: str) -> str:
    """The plain name of a field, as `sparkplug` compares them."""
    return key.replace("_", "").lower()


def _code(fields: dict[str, Any]) -> int | None:
    given = fields.get("datatype", fields.get("type"))
    if isinstance(given, str):
        is_code = given.isdecimal() and len(given) <= _MOST_DIGITS
        return _CODES.get(given.lower(), int(given) if is_code else None)
    return given if isinstance(given, int) else None


def _parsed(payload: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _written(value: Any) -> bytes | None:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (UnicodeEncodeError, RecursionError):
        return None
