"""Store and forward of an edge node: what could not be published, and what perhaps was lost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.actions import PublishedValue


class HistoryStore:
    """Observations in order, bounded: the oldest are dropped, and counted. `len()` of them wait.

    With `rolling_ms` the observations published in the last so many milliseconds are
    remembered too, and stored again when the session breaks: a lost connection is
    noticed late, and QoS 0 does not say what arrived. Receivers then see duplicates,
    as with the rolling history buffer of Ignition's MQTT Transmission.
    """

    def __init__(self, capacity: int, rolling_ms: int = 0) -> None:
        self._stored: deque[tuple[str | None, PublishedValue]] = deque()
        self._capacity = capacity
        self._rolling_ms = rolling_ms
        self._recent: deque[tuple[int, str | None, PublishedValue]] = deque()
        self.dropped = 0
        """Observations dropped because the store was full, or their metric is gone."""

    def __len__(self) -> int:
        return len(self._stored)

    def add(self, device_id: str | None, observations: Iterable[PublishedValue]) -> None:
        """Store observations that cannot be published now."""
        self._stored.extend((device_id, each) for each in observations)
        self._trim()

    def give_back(self, device_id: str | None, observations: Iterable[PublishedValue]) -> None:
        """Store observations that were taken from here, or published but not sent."""
        self._stored.extendleft((device_id, each) for each in reversed(tuple(observations)))
        self._trim()

    def published(
        self, device_id: str | None, observations: Iterable[PublishedValue], now_ms: int
    ) -> None:
        """Remember what was just sent, if there is a rolling history."""
        if self._rolling_ms == 0:
            return
        self._recent.extend((now_ms, device_id, each) for each in observations)
        oldest_ms = now_ms - self._rolling_ms
        while self._recent and (
            self._recent[0][0] < oldest_ms or len(self._recent) > self._capacity
        ):
            self._recent.popleft()

    def session_broke(self) -> None:
        """Store the rolling history again: it may not have arrived."""
        self._stored.extendleft((device_id, each) for _, device_id, each in reversed(self._recent))
        self._recent.clear()
        self._trim()

    def take(self) -> dict[str | None, list[PublishedValue]]:
        """Everything stored, per device and in order of time; the store is empty afterwards."""
        result: dict[str | None, list[PublishedValue]] = {}
        for device_id, observation in self._stored:
            result.setdefault(device_id, []).append(observation)
        self._stored.clear()
        for observations in result.values():
            observations.sort(key=lambda each: each.timestamp_ms)
        return result

    def _trim(self) -> None:
        while len(self._stored) > self._capacity:
            self._stored.popleft()
            self.dropped += 1
