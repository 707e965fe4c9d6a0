"""What the Sparkplug classes ask their caller to do. They perform nothing themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sparkplug.datatypes import DataType

Scalar: TypeAlias = bool | int | float | str | None
"""A value of a scalar datatype; DateTime as milliseconds since 1970 UTC, None is null."""


class PublishedValue(NamedTuple):
    """One value of one tag, as a publisher meant it.

    `quality` is the raw signed 32-bit code; None when no Quality property is sent,
    which means good.
    """

    name: str
    data_type: DataType
    value: Scalar
    timestamp_ms: int
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish one MQTT message.

    `observations` are the tag values that the payload carries, without bdSeq and
    Node Control; they let a caller keep account of what it published. `historical`
    says that they were flushed from the store.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    observations: tuple[PublishedValue, ...] = field(default=(), repr=False)
    historical: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter and its quality of service."""

    topic_filter: str
    qos: int


@dataclass(frozen=True, slots=True)
class Connect:
    """How to connect: a clean session, this will, then these subscriptions."""

    will: Publish
    subscriptions: tuple[Subscription, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection with an MQTT DISCONNECT packet, after what was published before."""

    reason: str


Action: TypeAlias = Publish | Disconnect
