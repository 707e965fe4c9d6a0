"""Metrics that are published as members of template instances (specification 6.4.17).

A gateway that does not convert its UDTs publishes `Line 1/Motor/speed` as the member `speed` of the
metric `Line 1/Motor`. Tags, times and values are the same either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.datatypes import DataType
from sparkplug.pb import sparkplug_b_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sparkplug.edge.tags import Device

_FOLDER: Final = "_types_/"
"""Where Ignition publishes its definitions."""


class Instances:
    """The template instances of an edge node and its devices.

    Args:
        templates: name of the template by the path of each instance, nested ones included.
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._templates = dict(templates)
        self._around: dict[str, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._templates)

    def around(self, name: str) -> tuple[str, ...]:
        """Paths of the instances around a metric, the outermost first; none for most."""
        found = self._around.get(name)
        if found is None:
            parts = name.split("/")
            paths = ("/".join(parts[:count]) for count in range(1, len(parts)))
            found = tuple(path for path in paths if path in self._templates)
            self._around[name] = found
        return found

    def nest(self, payload: pb.Payload, device: Device, *, birth: bool) -> None:
        """Put metrics of a payload that are members into templates, in the place of the first.

        An instance is known by the alias of the first tag below it, which needs none itself.

        Args:
            payload: of metrics with names, those of data, too; they get aliases here.
            device: whose metrics they are.
            birth: whether instances name their templates, and have names as well as aliases.
        """
        metrics = [pb.Metric.FromString(each.SerializeToString()) for each in payload.metrics]
        del payload.metrics[:]
        opened: dict[str, pb.Metric] = {}
        for metric in metrics:
            around = self.around(metric.name)
            if not around:
                self._name(payload.metrics.add(), metric, device, birth=birth)
                continue
            container = payload.metrics
            begin = 0
            for path in around:
                if path not in opened:
                    opened[path] = container.add(datatype=DataType.Template)
                    self._open(opened[path], path, begin, device, birth=birth)
                container = opened[path].template_value.metrics
                begin = len(path) + 1
            member = container.add()
            member.CopyFrom(metric)
            member.name = metric.name[begin:]

    def definitions(self, devices: Iterable[Device]) -> Iterator[pb.Metric]:
        """Metrics of an NBIRTH that define the templates, each by its first instance."""
        found: dict[str, pb.Metric] = {}
        seen: dict[str, str] = {}
        for tag in (each for device in devices for each in device.tags.values()):
            around = self.around(tag.metric.name)
            for index, path in enumerate(around):
                name = self._templates[path]
                if seen.setdefault(name, path) != path:
                    continue
                if name not in found:
                    found[name] = pb.Metric(name=_FOLDER + name, datatype=DataType.Template)
                    found[name].template_value.is_definition = True
                members = found[name].template_value.metrics
                inner = around[index + 1] if index + 1 < len(around) else None
                if inner is None:
                    own = tag.metric.name[len(path) + 1 :]
                    members.add(name=own, datatype=tag.metric.data_type, is_null=True)
                elif all(each.name != inner[len(path) + 1 :] for each in members):
                    nested = members.add(name=inner[len(path) + 1 :], datatype=DataType.Template)
                    nested.template_value.template_ref = self._templates[inner]
        yield from found.values()

    @staticmethod
    def _name(target: pb.Metric, metric: pb.Metric, device: Device, *, birth: bool) -> None:
        """A metric that is no member, with its alias, and without its name where that is enough."""
        target.CopyFrom(metric)
        tag = device.tags.get(metric.name)
        if tag is not None and tag.alias is not None:
            target.alias = tag.alias
            if not birth:
                target.ClearField("name")

    def _open(
        self, metric: pb.Metric, path: str, begin: int, device: Device, *, birth: bool
    ) -> None:
        """Begin an instance; `begin` is where its name begins in its path."""
        metric.template_value.SetInParent()
        alias = None
        if not begin:
            first = (tag for name, tag in device.tags.items() if name.startswith(path + "/"))
            alias = next(first).alias
        if alias is not None:
            metric.alias = alias
        if birth or alias is None:
            metric.name = path[begin:]
        if birth:
            metric.template_value.template_ref = self._templates[path]
