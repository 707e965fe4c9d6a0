"""An edge node that publishes templates: definitions, instances and parts of them at random."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from oracle import samples
from oracle.decoder import Arrival
from oracle.templates import leaves_of

from sparkplug.pb.sparkplug_b_columns_pb2 import Metric as FlatMetric
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload, PropertySet, Template

TEMPLATE = 19
LEAVES = {"speed": 10, "count": 2, "state": 12, "on": 11, "since": 13, "drive/load": 9}
NESTED = ("bearing", "gear")
DEFINED = ("Motor", "Pump", "Bearing")
INSTANCES = ("M1", "Line 1/M2", "P")
START_MS = 1_700_000_000_000

Tree = dict[str, Any]
"""Members by name: a datatype, or the members of a nested instance."""


class TemplateWorld:
    """One node and its device Boiler; every call of `message` is one arrival."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now_ms = START_MS
        self.seq = 0
        self.definitions: dict[str, Template] = {}
        self.known: dict[str | None, dict[str, Tree]] = {}
        self.aliases: dict[tuple[str | None, str], int] = {}

    def messages(self, count: int) -> list[Arrival]:
        """A birth, then data, other births and deaths, in order."""
        found = [self.birth(None)]
        for _ in range(count):
            self.now_ms += self.rng.randint(0, 1500)
            found.append(self.message())
        return found

    def message(self) -> Arrival:
        rng = self.rng
        if None not in self.known or rng.random() < 0.1:
            return self.birth(None)
        if rng.random() < 0.15:
            return self.birth("Boiler")
        device = rng.choice([*self.known])
        if rng.random() < 0.08:
            self.known.pop(device)
            if device is None:
                self.known.clear()
            return self.sealed("DEATH", device, [])
        metrics = [self.plain(None)] if rng.random() < 0.5 else []
        for name, tree in self.known[device].items():
            if rng.random() < 0.7:
                metrics.append(self.instance_data(device, name, tree))
        rng.shuffle(metrics)
        return self.sealed("DATA", device, metrics)

    def birth(self, device: str | None) -> Arrival:
        rng = self.rng
        metrics = [self.plain("Ramp")]
        if device is None:
            self.known.clear()
            self.define()
            for name, template in self.definitions.items():
                prefix = rng.choice(("", "_types_/"))
                metrics.append(
                    Metric(name=prefix + name, datatype=TEMPLATE, template_value=template)
                )
        counts: Counter[str] = Counter()
        self.known[device] = {}
        for alias, name in enumerate(rng.sample(INSTANCES, rng.randint(0, 3)), 1):
            metric = self.instance(name)
            metric.alias = self.aliases[device, name] = alias + (10 if device else 0)
            flat = FlatMetric.FromString(metric.SerializeToString())
            leaves = leaves_of(name, flat, self.definitions, counts)
            codes = {leaf.name: leaf.datatype for leaf in leaves.given} | leaves.declared
            self.known[device][name] = tree_of(name, codes)
            metrics.append(metric)
        rng.shuffle(metrics)
        return self.sealed("BIRTH", device, metrics)

    # Definitions

    def define(self) -> None:
        if self.definitions and self.rng.random() < 0.5:
            return
        rng = self.rng
        self.definitions = {}
        for name in rng.sample(DEFINED, rng.randint(0, 3)):
            members = [
                Metric(name=leaf, datatype=code, is_null=True)
                for leaf, code in LEAVES.items()
                if rng.random() < 0.5
            ]
            for nested in NESTED:
                if rng.random() < 0.3:
                    inner = Template(template_ref=rng.choice(("", *DEFINED)))
                    if rng.random() < 0.3:
                        inner.metrics.add(name="extra", datatype=3)
                    members.append(Metric(name=nested, datatype=TEMPLATE, template_value=inner))
            self.definitions[name] = Template(
                is_definition=True,
                metrics=members,
                template_ref=rng.choice(("", "", *DEFINED)),
                parameters=[{"name": "offset", "type": 3, "int_value": 1}],
            )

    # Instances

    def instance(self, name: str) -> Metric:
        rng = self.rng
        metric = Metric(name=name, datatype=TEMPLATE)
        self.decorate(metric)
        if rng.random() < 0.08:
            metric.is_null = True
        if not metric.is_null or rng.random() < 0.5:
            metric.template_value.CopyFrom(self.template(3))
        if rng.random() < 0.03:
            metric.string_value = "no template"
        return metric

    def template(self, depth: int) -> Template:
        rng = self.rng
        template = Template()
        if rng.random() < 0.8:
            template.template_ref = rng.choice(("", *DEFINED, "_types_/Motor", "Nowhere"))
        for leaf in rng.sample([*LEAVES], rng.randint(0, 4)):
            template.metrics.append(self.leaf(leaf, LEAVES[leaf], births=True))
        for nested in NESTED:
            if depth > 1 and rng.random() < 0.4:
                member = Metric(name=nested)
                if rng.random() < 0.8:
                    member.datatype = TEMPLATE
                self.decorate(member)
                if rng.random() < 0.1:
                    member.datatype = TEMPLATE
                    member.is_null = True
                else:
                    member.template_value.CopyFrom(self.template(depth - 1))
                template.metrics.append(member)
        if rng.random() < 0.05:
            template.metrics.add(int_value=1)
        if rng.random() < 0.05:
            template.metrics.append(
                Metric(name="T", datatype=TEMPLATE, template_value=Template(is_definition=True))
            )
        return template

    def instance_data(self, device: str | None, name: str, tree: Tree) -> Metric:
        rng = self.rng
        metric = Metric()
        self.decorate(metric)
        form = rng.randrange(3)
        if form != 1:
            metric.name = name
        if form:
            metric.alias = self.aliases[device, name]
        if rng.random() < 0.1:
            metric.is_null = True
        if not metric.is_null or rng.random() < 0.3:
            metric.template_value.CopyFrom(self.partial(tree))
        return metric

    def partial(self, tree: Tree) -> Template:
        rng = self.rng
        template = Template()
        for name, inner in tree.items():
            if rng.random() < 0.5:
                continue
            if isinstance(inner, dict):
                member = Metric(name=name)
                self.decorate(member)
                if rng.random() < 0.1:
                    member.datatype = TEMPLATE
                    member.is_null = rng.random() < 0.7
                else:
                    member.template_value.CopyFrom(self.partial(inner))
                template.metrics.append(member)
            else:
                template.metrics.append(self.leaf(name, inner, births=False))
        if rng.random() < 0.1:
            template.metrics.append(self.leaf("undeclared", 3, births=False))
        return template

    def leaf(self, name: str, datatype: int, *, births: bool) -> Metric:
        rng = self.rng
        fields = samples.fitting(datatype, rng, odd=True) if rng.random() < 0.9 else {}
        if rng.random() < 0.05:
            fields = {"double_value": 0.5}
        if rng.random() < 0.1:
            fields = {"is_null": True}
        metric = Metric(name=name, **fields)
        if births and rng.random() < 0.9:
            metric.datatype = rng.choice((datatype,) * 15 + (99,))
        self.decorate(metric)
        if rng.random() < 0.1:
            metric.alias = 1  # a member's own alias says nothing
        return metric

    def decorate(self, metric: Metric) -> None:
        """Time, flags and quality, each now and then."""
        rng = self.rng
        if rng.random() < 0.6:
            metric.timestamp = self.now_ms - rng.choice((0, 1, 250, 86_400_000))
        if rng.random() < 0.03:
            metric.timestamp = 2**63
        if rng.random() < 0.1:
            metric.is_historical = rng.random() < 0.8
        if rng.random() < 0.05:
            metric.is_transient = rng.random() < 0.8
        if rng.random() < 0.2:
            others, quality = rng.random() < 0.5, rng.choice((None, *samples.LIVE_QUALITIES))
            encoded = samples.property_set(rng, quality=quality, others=others, odd=False)
            metric.properties.CopyFrom(PropertySet.FromString(encoded))

    def plain(self, name: str | None) -> Metric:
        metric = Metric(timestamp=self.now_ms, double_value=self.rng.random())
        if name is not None:
            metric.datatype = 10
        metric.name = name or "Ramp"
        return metric

    # Messages

    def sealed(self, verb: str, device: str | None, metrics: list[Metric]) -> Arrival:
        level, tail = ("N", "") if device is None else ("D", f"/{device}")
        payload = Payload(metrics=metrics)
        if self.rng.random() < 0.9:
            payload.timestamp = self.now_ms
        if level + verb == "NBIRTH":
            self.seq = 0
        if level + verb != "NDEATH":
            payload.seq = self.seq
            self.seq = (self.seq + 1) % 256
        raw = payload.SerializeToString()
        return Arrival(f"spBv1.0/Plant/{level}{verb}/Edge{tail}", raw, self.now_ms * 1000)


def tree_of(name: str, codes: dict[str, int]) -> Tree:
    """Paths below an instance as members of members."""
    tree: Tree = {}
    for path, code in codes.items():
        *around, leaf = path.removeprefix(name + "/").split("/")
        if around and around[0] == "drive":
            around, leaf = around[1:], f"drive/{leaf}"
        inner = tree
        for each in around:
            inner = inner.setdefault(each, {})
        inner[leaf] = code
    return tree
