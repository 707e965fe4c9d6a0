"""What was published, as event_ids.

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

from sparkplug import topics
from sparkplug.datatypes import DataType
from sparkplug.payloads import BD_SEQ

if TYPE_CHECKING:
    from sparkplug.actions import Observation, Publish, Scalar

_CONTROL: Final = ("Node Control/", "Device Control/")
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


def event_id(tag_identity: bytes, observation: Observation) -> str:
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


class Ledger:
    """Counts published metric values and collects their event_ids. Thread-safe."""

    def __init__(self, site: str = "") -> None:
        """`site` is the site that the consumer gives to this MQTT server."""
        self._site = site
        self._lock = threading.Lock()
        self._identities: dict[tuple[str, str], bytes] = {}
        self._ids: set[str] = set()
        self._published = 0

    @property
    def published(self) -> int:
        """Metric values published so far; a value that a birth repeats counts again."""
        return self._published

    @property
    def event_ids(self) -> set[str]:
        """A copy of the ids of all distinct observations published so far."""
        with self._lock:
            return set(self._ids)

    @property
    def distinct(self) -> int:
        """How many distinct observations were published so far."""
        return len(self._ids)

    def record(self, publish: Publish) -> None:
        """Take down a message that was handed to the MQTT server."""
        # Births and data of a tag have different topics: the key is what they share.
        topic = topics.parse(publish.topic)
        assert isinstance(topic, topics.Topic)
        owner = f"{topic.group_id}/{topic.edge_node_id}/{topic.device_id or ''}"
        with self._lock:
            for observation in publish.observations:
                if not is_tag(observation.name):
                    continue
                key = (owner, observation.name)
                tag_identity = self._identities.get(key)
                if tag_identity is None:
                    tag_identity = self._identities[key] = identity(
                        self._site,
                        topic.group_id,
                        topic.edge_node_id,
                        topic.device_id,
                        observation.name,
                    )
                self._ids.add(event_id(tag_identity, observation))
                self._published += 1
