"""How much comes while `check` listens, and whether the configuration can hold that."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from consumer.check.report import Finding, Status
from consumer.config import MIB, format_size
from sparkplug import MessageType, Topic, parse_topic
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consumer.config import Configuration

STREAM_ROWS: Final = 100_000
"""Records per second that Zerobus takes over one stream."""
STREAM_BYTES: Final = 100_000_000
"""Bytes per second that Zerobus takes over one stream."""
ROW_BYTES: Final = 250
"""Bytes of an encoded row, as a rule."""
SPOOLED_ROW_BYTES: Final = 100
"""Bytes of a spooled row on the disk, as a rule: rows are compressed (docs/sizing.md)."""

_OUTAGE_SECONDS: Final = 3600
_DATA: Final = (MessageType.NDATA, MessageType.DDATA)
_LARGEST: Final = 1 << 20
"""Bytes of a payload beyond which its values are not counted: that may cost much."""


class Traffic:
    """Counts what one server sends while `check` listens. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages = 0
        self.values = 0
        self.seconds = 0.0

    def count(self, topic: str, payload: bytes) -> None:
        """Count a message, if it is data of an edge node or device."""
        read = parse_topic(topic)
        if not isinstance(read, Topic) or read.message_type not in _DATA:
            return
        values = 0
        if len(payload) <= _LARGEST:
            try:
                values = len(Payload.FromString(payload).metrics)
            except DecodeError:
                return
        with self._lock:
            self.messages += 1
            self.values += values

    @property
    def per_second(self) -> float:
        """Values per second, each of which becomes a row."""
        return self.values / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        rate = self.messages / self.seconds if self.seconds else 0.0
        return (
            f"{self.per_second:,.0f} values/s in {rate:,.0f} messages/s, over {self.seconds:.0f} s"
        )


def capacity(config: Configuration, heard: Iterable[Traffic]) -> Iterator[Finding]:
    """Warnings about what cannot hold what was heard, all servers together."""
    rate = sum(each.per_second for each in heard)
    streams = max(math.ceil(rate / STREAM_ROWS), math.ceil(rate * ROW_BYTES / STREAM_BYTES))
    if streams > config.zerobus.streams:
        yield Finding(
            Status.WARN,
            "zerobus",
            f"{rate:,.0f} values/s are more than {config.zerobus.streams} "
            f"{'stream' if config.zerobus.streams == 1 else 'streams'} may carry: "
            f"{STREAM_ROWS:,} rows/s and {STREAM_BYTES // 1_000_000} MB/s each",
            f"set zerobus.streams to {streams}, and let several edge nodes share the load",
        )
    needed = rate * SPOOLED_ROW_BYTES * _OUTAGE_SECONDS
    if needed > config.spool.max_bytes:
        minutes = config.spool.max_bytes / (rate * SPOOLED_ROW_BYTES) / 60
        yield Finding(
            Status.WARN,
            "spool",
            f"{format_size(config.spool.max_bytes)} last for an outage of some {minutes:.0f} "
            f"minutes at {rate:,.0f} values/s",
            f"set spool.max_bytes to {math.ceil(needed / (1024 * MIB))}GiB for an hour",
        )
