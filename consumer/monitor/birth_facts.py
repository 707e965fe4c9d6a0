"""What births say of tags beside their values, read from the spool's file when somebody looks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from consumer.errors import SpoolError
from consumer.monitor.shown import milliseconds
from consumer.monitor.tag_view import Units
from consumer.spool import kept_births_of
from sparkplug import DataType, parse_topic
from sparkplug.pb import sparkplug_b_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from consumer.monitor.tag_view import TagView
    from consumer.spool import KeptBirth, OwnerPlace

_UNIT: Final = "engUnit"
_LONGEST_UNIT: Final = 64
_MOST_UNITS: Final = 10_000
_MOST_OF_BIRTH: Final = 500
"""Units of one node or device: who has more makes them up, and has none beyond."""
_MOST_PROPERTIES: Final = 100
_LONGEST_PROPERTY: Final = 1_000
_BIRTHS_AT_A_TIME: Final = 200
_TYPES: Final = {int(each): each.name for each in DataType}


class BirthFacts(NamedTuple):
    """What the birth of a tag says of it: JSON of the route `/api/tag`, and its alias."""

    shown: dict[str, Any]
    alias: int | None


class KnownUnits:
    """The units of all tags: births that are new since the last look are read. Thread-safe.

    Args:
        path: of the spool's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._arrivals: dict[OwnerPlace, int] = {}
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._of_owner: dict[OwnerPlace, dict[str, int]] = {}
        self._read = 0
        self._made: tuple[tuple[int, int], Units] | None = None

    def look(self) -> bool:
        """Read some births that are new; whether there are more of them."""
        with kept_births_of(self._path) as births:
            arrivals = births.arrivals()
            new = [owner for owner, at in arrivals.items() if self._arrivals.get(owner) != at]
            for owner in new[:_BIRTHS_AT_A_TIME]:
                birth = births.get(owner)
                if len(self._names) + _MOST_OF_BIRTH > _MOST_UNITS:
                    with self._lock:
                        self._make_room()
                units = {} if birth is None else dict(self._units(birth))
                with self._lock:
                    self._arrivals[owner] = arrivals[owner]
                    self._of_owner[owner] = units
                    self._read += 1
            gone = self._arrivals.keys() - arrivals.keys()
            with self._lock:
                for owner in gone:
                    del self._arrivals[owner], self._of_owner[owner]
        return len(new) > _BIRTHS_AT_A_TIME

    def _units(self, birth: KeptBirth) -> Iterable[tuple[str, int]]:
        """The number of the unit of each metric that has one."""
        found: set[int] = set()
        for metric in _metrics(birth.payload):
            properties = metric.properties
            if not properties.keys or not metric.name:
                continue
            for key, value in zip(properties.keys, properties.values, strict=False):
                if key == _UNIT and value.string_value:
                    unit = value.string_value[:_LONGEST_UNIT]
                    number = self._number(unit, may_be_new=len(found) < _MOST_OF_BIRTH)
                    if number is not None:
                        found.add(number)
                        yield metric.name, number

    def _number(self, unit: str, *, may_be_new: bool) -> int | None:
        number = self._numbers.get(unit)
        if number is None and may_be_new:
            number = self._numbers[unit] = len(self._names)
            self._names.append(unit)
        return number

    def _make_room(self) -> None:
        """Forget units that no birth has any more, and those of births that have most of them.

        Half of the room is free then: it is not looked for again with each birth that comes.
        """
        used = {owner: set(units.values()) for owner, units in self._of_owner.items()}
        kept: set[int] = set()
        for owner in sorted(used, key=lambda owner: len(used[owner])):
            if len(kept | used[owner]) > _MOST_UNITS // 2:
                self._of_owner[owner] = {}
            else:
                kept |= used[owner]
        order = sorted(kept)
        place = {number: at for at, number in enumerate(order)}
        self._names = [self._names[number] for number in order]
        self._numbers = {unit: at for at, unit in enumerate(self._names)}
        for owner, units in self._of_owner.items():
            self._of_owner[owner] = {name: place[number] for name, number in units.items()}

    def of(self, view: TagView) -> Units:
        """The units of the tags of a view, as far as births were read."""
        with self._lock:
            key = (view.version, self._read)
            if self._made is not None and self._made[0] == key:
                return self._made[1]
            index = np.full(len(view), -1, dtype=np.int32)
            order = np.argsort(view.owner, kind="stable")
            ends = np.searchsorted(view.owner[order], np.arange(len(view.places) + 1))
            for number, place in enumerate(view.places):
                units = self._of_owner.get(place)
                if not units:
                    continue
                for position in order[ends[number] : ends[number + 1]].tolist():
                    index[position] = units.get(view.name(position), -1)
            made = Units(list(self._names), index)
            self._made = key, made
            return made


def birth_facts(path: Path, place: OwnerPlace, name: str) -> BirthFacts | None:
    """What the birth of a tag says of it; None if it is not kept, or does not name the tag."""
    try:
        with kept_births_of(path) as births:
            birth = births.get(place)
    except SpoolError:
        return None
    if birth is None:
        return None
    found = [metric for metric in _metrics(birth.payload) if metric.name == name]
    if not found:
        return None
    metric = found[-1]
    topic = parse_topic(birth.topic)
    payload = sparkplug_b_pb2.Payload.FromString(birth.payload)
    pairs = zip(metric.properties.keys, metric.properties.values, strict=False)
    shown = {
        "message_type": str(getattr(topic, "message_type", "")),
        "received_ms": milliseconds(birth.received_us),
        "seq": payload.seq if payload.HasField("seq") else None,
        "properties": [_property(key, value) for key, value in list(pairs)[:_MOST_PROPERTIES]],
        "is_transient": metric.is_transient,
    }
    return BirthFacts(shown, metric.alias if metric.HasField("alias") else None)


def _property(key: str, value: Any) -> dict[str, Any]:
    field = value.WhichOneof("value")
    found = None if value.is_null or field is None else getattr(value, field)
    if not isinstance(found, str | int | float | bool | None):
        found = str(found)  # a property set
    if isinstance(found, str):
        found = found[:_LONGEST_PROPERTY]
    if isinstance(found, float) and not np.isfinite(found):
        found = str(found)
    return {
        "name": key[:_LONGEST_PROPERTY],
        "type": _TYPES.get(value.type, str(value.type)),
        "value": found,
    }


def _metrics(payload: bytes) -> Any:
    """The metrics of a birth; none of one that is compressed, or no protobuf."""
    try:
        return sparkplug_b_pb2.Payload.FromString(payload).metrics
    except DecodeError:
        return []
