"""An edge node of an independent implementation: payloads by pysparkplug, topics by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from support import peer
from support.peer import PeerMetric, PeerType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MEASURED_MS = 1_795_443_214_123  # 2026-11-23T14:13:34.123Z


def metric(
    name: str | None,
    datatype: PeerType = PeerType.DOUBLE,
    value: Any = 1.0,
    timestamp: int | None = MEASURED_MS,
    **more: Any,
) -> PeerMetric:
    """A metric; without value it is null."""
    return PeerMetric(timestamp, name, datatype, value=value, **more)


class Gateway:
    """One edge node. Counts seq as the specification asks; `skip_seq` loses a message."""

    def __init__(
        self, publish: Callable[[str, bytes], None], group: str, node: str = "Edge"
    ) -> None:
        self.group = group
        self.node = node
        self.sent_ms = MEASURED_MS + 1_000
        self._publish = publish
        self._seq = -1
        self._bd_seq = 0

    def topic(self, verb: str, device: str | None = None) -> str:
        """The topic of this edge node, or of a device of it."""
        text = f"spBv1.0/{self.group}/{verb}/{self.node}"
        return text if device is None else f"{text}/{device}"

    def born(self, *metrics: PeerMetric) -> int:
        """Publish NBIRTH with bdSeq and these metrics; return its seq."""
        self._seq = -1
        bd_seq = metric("bdSeq", PeerType.INT64, self._bd_seq)
        return self._send(peer.NBirth, "NBIRTH", None, (bd_seq, *metrics))

    def device_born(self, device: str, *metrics: PeerMetric) -> int:
        """Publish DBIRTH; return its seq."""
        return self._send(peer.DBirth, "DBIRTH", device, metrics)

    def data(self, *metrics: PeerMetric, device: str | None = None, **options: Any) -> int:
        """Publish NDATA, or DDATA of a device; return its seq."""
        if device is None:
            return self._send(peer.NData, "NDATA", None, metrics, **options)
        return self._send(peer.DData, "DDATA", device, metrics, **options)

    def device_died(self, device: str) -> int:
        """Publish DDEATH; return its seq."""
        self._seq = (self._seq + 1) % 256
        self._publish(self.topic("DDEATH", device), peer.DDeath(self.sent_ms, self._seq).encode())
        return self._seq

    def died(self) -> None:
        """Publish NDEATH, as the server does when it publishes the will."""
        bd_seq = metric("bdSeq", PeerType.INT64, self._bd_seq)
        self._publish(self.topic("NDEATH"), peer.NDeath(self.sent_ms, bd_seq).encode())
        self._bd_seq += 1

    def skip_seq(self) -> None:
        """Behave as if a message had been lost on the way."""
        self._seq = (self._seq + 1) % 256

    def _send(
        self,
        kind: Any,
        verb: str,
        device: str | None,
        metrics: Iterable[PeerMetric],
        **options: Any,
    ) -> int:
        self._seq = (self._seq + 1) % 256
        payload = kind(self.sent_ms, self._seq, tuple(metrics)).encode(**options)
        self._publish(self.topic(verb, device), payload)
        return self._seq


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
