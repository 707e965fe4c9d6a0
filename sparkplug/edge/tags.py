"""The devices of a publishing edge node, their tags and aliases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sparkplug import topics
from sparkplug.actions import PublishedValue
from sparkplug.edge.encoding import Metric, wire_value
from sparkplug.names import BD_SEQ, REBIRTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class UnknownMetricError(KeyError):
    """An update names a device or metric that the edge node does not have."""


@dataclass(slots=True)
class Tag:
    """A metric with its alias; `alias` is None without aliases."""

    metric: Metric
    alias: int | None

    def observation(self) -> PublishedValue:
        """The current value."""
        metric = self.metric
        return PublishedValue(
            metric.name, metric.data_type, metric.value, metric.timestamp_ms, metric.quality
        )


@dataclass(slots=True)
class Device:
    """A device, or with id None the node itself."""

    device_id: str | None
    tags: dict[str, Tag]
    alive: bool = True


class EdgeTags:
    """All devices of one edge node. Aliases count from 0 and are never given twice."""

    def __init__(self, *, aliases: bool) -> None:
        self._aliases = aliases
        self._by_alias: list[tuple[Device, Tag]] = []
        self._devices: dict[str | None, Device] = {}

    def __iter__(self) -> Iterator[Device]:
        """The devices in the order of their definition, the node itself first."""
        return iter(self._devices.values())

    def define(self, device_id: str | None, metrics: Iterable[Metric]) -> Device:
        """Add a device, or replace one's metrics.

        Raises:
            ValueError: the id may not be used in a topic, or a metric's name not at all.
            EncodeError: a value does not fit its metric's datatype.
        """
        if device_id is not None:
            topics.check_id(device_id, "device id")
        device = Device(device_id, {})
        for metric in metrics:
            if not metric.name or metric.name in (BD_SEQ, REBIRTH) or metric.name in device.tags:
                raise ValueError(f"a metric cannot be called {metric.name!r} (again)")
            if metric.value is not None:
                wire_value(metric.data_type, metric.value)
            device.tags[metric.name] = Tag(replace(metric), None)
        if self._aliases:
            # Unique over the node and all its devices (payloads-alias-uniqueness).
            for tag in device.tags.values():
                tag.alias = len(self._by_alias)
                self._by_alias.append((device, tag))
        self._devices[device_id] = device
        return device

    def device(self, device_id: str | None) -> Device:
        """The device of an id.

        Raises:
            UnknownMetricError: there is none.
        """
        try:
            return self._devices[device_id]
        except KeyError:
            raise UnknownMetricError(device_id) from None

    def tag(self, device_id: str | None, name: str) -> Tag:
        """The tag of a device.

        Raises:
            UnknownMetricError: there is no such device or metric.
        """
        try:
            return self.device(device_id).tags[name]
        except KeyError:
            raise UnknownMetricError(name) from None

    def living(self, device_id: str | None, name: str, alias: int | None) -> Tag | None:
        """The tag of a living device that a command means by name, or without one by alias."""
        device = self._devices.get(device_id)
        if device is None or not device.alive:
            return None
        if name:
            return device.tags.get(name)
        if alias is None or alias >= len(self._by_alias):
            return None
        owner, tag = self._by_alias[alias]
        return tag if owner is device else None
