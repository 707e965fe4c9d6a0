"""The event_ids of all that the simulator published.

The ids are computed here from the values the simulator meant to publish, one by
one as docs/event_id.md says. Nothing is shared with the consumer's columnar code:
two independent computations that agree are worth more than one that is reused.
"""

from __future__ import annotations

import math
import struct
import threading
from typing import TYPE_CHECKING, Final

import xxhash

from sparkplug import BD_SEQ, DataType, MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Collection

    from sparkplug.edge import Publish, PublishedValue, Scalar

_CONTROL: Final = ("Node Control/", "Device Control/")
_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)
_GOOD: Final = 192
_ABSENT: Final = 0xFFFF_FFFF


def is_tag(name: str) -> bool:
    """Whether a metric becomes a row: bdSeq and the controls do not (docs/decoding.md)."""
    return name != BD_SEQ and not name.startswith(_CONTROL)


def count_values(publish: Publish) -> int:
    """How many metric values of a message become rows."""
    return sum(is_tag(observation.name) for observation in publish.observations)


def identity(site: str, group: str, node: str, device: str | None, metric: str) -> bytes:
    """The digest that names one tag (docs/event_id.md, "Identity")."""
    parts = []
    for text in (site, group, node, device, metric):
        if text is None:
            parts.append(struct.pack("<I", _ABSENT))
        else:
            raw = text.encode()
            parts.append(struct.pack("<I", len(raw)) + raw)
    return xxhash.xxh3_128_digest(b"".join(parts))


def event_id(tag_identity: bytes, observation: PublishedValue) -> str:
    """The event_id of one observation of a tag (docs/event_id.md)."""
    kind, value = _kind_and_value(observation.data_type, observation.value)
    quality = _GOOD if observation.quality is None else observation.quality
    record = b"".join(
        (
            tag_identity,
            struct.pack("<q", observation.timestamp_ms * 1_000),
            value,
            struct.pack("<iI", quality, kind),
        )
    )
    return xxhash.xxh3_128_hexdigest(record)


def _kind_and_value(data_type: DataType, value: Scalar) -> tuple[int, bytes]:
    if value is None:
        return 0, bytes(16)
    if isinstance(value, bool):
        return 3, struct.pack("<QQ", value, 0)
    if isinstance(value, str):
        return _text(value)
    if data_type in (DataType.Float, DataType.Double):
        return _number(data_type, float(value))
    if value > 2**63 - 1:
        return _text(str(value))
    return 2, struct.pack("<qQ", int(value), 0)


def _number(data_type: DataType, value: float) -> tuple[int, bytes]:
    if math.isnan(value):
        return _text("NaN")
    if math.isinf(value):
        return _text("Infinity" if value > 0 else "-Infinity")
    if data_type is DataType.Float:
        # The wire has 32 bits; the row widens them again.
        (value,) = struct.unpack("<f", struct.pack("<f", value))
    return 1, struct.pack("<dQ", value, 0)


def _text(text: str) -> tuple[int, bytes]:
    return 4, xxhash.xxh3_128_digest(text.encode())


class Published:
    """Counts published metric values and collects their event_ids. Thread-safe."""

    def __init__(self, site: str = "") -> None:
        """`site` is the site that the consumer gives to this MQTT server."""
        self._site = site
        self._lock = threading.Lock()
        self._identities: dict[tuple[str, str], bytes] = {}
        self._ids: set[str] = set()
        self._births: set[str] = set()
        self._published = 0

    @property
    def published(self) -> int:
        """Metric values published so far; a value that a birth repeats counts again."""
        return self._published

    @property
    def event_ids(self) -> set[str]:
        """A copy of the ids of everything published in data."""
        with self._lock:
            return set(self._ids)

    @property
    def births(self) -> set[str]:
        """A copy of the ids of the values published in births."""
        with self._lock:
            return set(self._births)

    @property
    def tags(self) -> int:
        """How many tags were published so far."""
        return len(self._identities)

    @property
    def distinct(self) -> int:
        """How many distinct observations were published so far, in births and data."""
        with self._lock:
            return len(self._ids | self._births)

    def missing(self, landed: Collection[str]) -> set[str]:
        """Published observations that are not among the landed event_ids."""
        with self._lock:
            return {each for each in self._ids | self._births if each not in landed}

    def record(self, publish: Publish) -> None:
        """Take down a message that was handed to the MQTT server."""
        topic = parse_topic(publish.topic)
        assert isinstance(topic, Topic)
        with self._lock:
            ids = self._births if topic.message_type in _BIRTHS else self._ids
            for observation in publish.observations:
                if is_tag(observation.name):
                    ids.add(event_id(self._identity(topic, observation.name), observation))
                    self._published += 1

    def _identity(self, topic: Topic, name: str) -> bytes:
        # Births and data of a tag have different topics: the key is what they share.
        key = (f"{topic.group_id}/{topic.edge_node_id}/{topic.device_id or ''}", name)
        known = self._identities.get(key)
        if known is None:
            known = self._identities[key] = identity(
                self._site, topic.group_id, topic.edge_node_id, topic.device_id, name
            )
        return known
