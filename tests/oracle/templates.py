"""The section "Templates" of docs/decoding.md, one metric at a time, without its bounds.

A birth is rewritten so that it declares the leaves of its templates beside its own
metrics; a Template metric of data becomes one metric for each leaf.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from oracle.values import TEMPLATE
from sparkplug.pb.sparkplug_b_columns_pb2 import Metric as FlatMetric
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload
from sparkplug.pb.sparkplug_b_pb2 import Metric, PropertySet, Template

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Hashable, Iterable

    from sparkplug.pb.sparkplug_b_pb2 import PropertyValue

DECLARED_ONLY = b"a tag without data"
"""extension_value of a leaf that a birth declares and says nothing of."""

OTHER_VALUES = (
    *("int_value", "long_value", "float_value", "double_value", "boolean_value"),
    *("string_value", "bytes_value", "dataset_value", "extension_value"),
)

Definitions = dict[str, Template]


@dataclass(frozen=True)
class Above:
    """What an instance hands down to its members."""

    timestamp: int | None
    historical: bool
    transient: bool
    quality: PropertyValue | None
    is_null: bool = False
    templates: tuple[str, ...] = ()  # this instance's and those around it


@dataclass
class Leaves:
    """Leaf metrics of one instance: with data, without, and the null instances in it."""

    given: list[Metric] = field(default_factory=list)
    declared: dict[str, int] = field(default_factory=dict)
    nulls: list[tuple[str, Metric]] = field(default_factory=list)
    bad: int = 0


class TemplateReader:
    """What the births of all nodes said of templates; a node may be any key."""

    def __init__(self) -> None:
        self._definitions: dict[Hashable, Definitions] = {}
        self._leaves: dict[tuple[Hashable, str | None], set[str]] = {}

    def birth(
        self, node: Hashable, device: str | None, payload: Payload, counts: Counter[str]
    ) -> Payload:
        """The birth with the leaves of its templates; some of them are DECLARED_ONLY.

        The templates are still in it, for their names and aliases. They give no rows.
        """
        named = {
            index: metric
            for index, metric in enumerate(payload.metrics)
            if metric.datatype == TEMPLATE and metric.name
        }
        self._define(node, device, filter(is_definition, named.values()), counts)
        known = self._definitions.get(node, {})
        instances = {
            index: leaves_of(metric.name, metric, known, counts)
            for index, metric in named.items()
            if not is_definition(metric)
        }
        names: dict[str, int] = {}
        for leaves in instances.values():
            names.update((leaf.name, leaf.datatype) for leaf in leaves.given)
            names.update(leaves.declared)
        self._leaves[node, device] = set(names)
        flat = Payload()
        flat.CopyFrom(payload)
        del flat.metrics[:]
        for index, metric in enumerate(payload.metrics):
            flat.metrics.append(metric)
            leaves = instances.get(index, Leaves())
            flat.metrics.extend(flattened(leaf) for leaf in leaves.given)
            for name, datatype in leaves.declared.items():
                only = FlatMetric(name=name, datatype=datatype, extension_value=DECLARED_ONLY)
                flat.metrics.append(only)
            for path, null in leaves.nulls:
                for name in self._below(node, device, path):
                    leaf = flat.metrics.add(name=name, datatype=names[name])
                    leaf.MergeFrom(flattened(null))
        return flat

    def data(
        self,
        node: Hashable,
        device: str | None,
        name: str,
        metric: FlatMetric,
        counts: Counter[str],
    ) -> list[FlatMetric]:
        """The leaves of the instance `name`, which a node or device declares, by their names."""
        if is_definition(metric):
            counts["bad_template"] += 1
            return []
        leaves = leaves_of(name, metric, None, counts)
        found = [flattened(leaf) for leaf in leaves.given]
        for path, null in leaves.nulls:
            for below in self._below(node, device, path):
                leaf = flattened(null)
                leaf.name = below
                found.append(leaf)
        return found

    def _below(self, node: Hashable, device: str | None, path: str) -> list[str]:
        names = self._leaves.get((node, device), set())
        return sorted(name for name in names if name.startswith(path + "/"))

    def _define(
        self,
        node: Hashable,
        device: str | None,
        found: Iterable[FlatMetric],
        counts: Counter[str],
    ) -> None:
        """Those of an NBIRTH replace the ones before; others have no business where they are."""
        if device is None:
            self._definitions[node] = {}
        for metric in found:
            template = parsed(metric)
            if device is None and template is not None:
                self._definitions[node][metric.name.removeprefix("_types_/")] = template
            else:
                counts["bad_template"] += 1


def parsed(metric: FlatMetric) -> Template | None:
    try:
        return Template.FromString(metric.template_value)
    except DecodeError:
        return None


def is_definition(metric: FlatMetric) -> bool:
    template = parsed(metric)
    return template is not None and template.is_definition


def flattened(metric: Metric) -> FlatMetric:
    return FlatMetric.FromString(metric.SerializeToString())


def leaves_of(
    name: str, metric: FlatMetric, definitions: Definitions | None, counts: Counter[str]
) -> Leaves:
    """The leaves of an instance on the payload's own level; `definitions` in births only."""
    leaves = Leaves()
    has_template = metric.HasField("template_value")
    template = parsed(metric)
    if template is None or (
        not has_template and not metric.is_null and any(map(metric.HasField, OTHER_VALUES))
    ):
        counts["bad_template"] += 1
        return leaves
    try:
        properties = PropertySet.FromString(metric.properties)
    except DecodeError:
        properties = PropertySet()
    above = Above(
        metric.timestamp if metric.HasField("timestamp") else None,
        metric.is_historical,
        metric.is_transient,
        quality_in(properties),
    )
    if metric.is_null or not has_template:
        above = null(leaves, name, above, is_null=metric.is_null)
    reference = template.template_ref
    walk(leaves, name, template, [], reference, above, definitions)
    given = {leaf.name for leaf in leaves.given}
    leaves.declared = {path: code for path, code in leaves.declared.items() if path not in given}
    if leaves.bad:
        counts["bad_template"] += leaves.bad
    return leaves


def walk(  # noqa: PLR0917 - everything that is known of an instance
    leaves: Leaves,
    path: str,
    template: Template,
    around: list[dict[str, Metric]],
    reference: str,
    above: Above,
    definitions: Definitions | None,
) -> None:
    """One instance. `around` has what the definition around it says of its members."""
    known = [*around, *line(definitions, reference)]
    named = set()
    for member in template.metrics:
        if not isinstance(member.name, str) or not member.name:
            leaves.bad += 1
            continue
        named.add(member.name)
        said = next((members[member.name] for members in known if member.name in members), None)
        member.datatype = member.datatype or (said.datatype if said is not None else 0)
        inner_path = f"{path}/{member.name}"
        if not is_nested(member):
            leaf(leaves, inner_path, member, above)
            continue
        if member.template_value.is_definition:
            leaves.bad += 1
            continue
        inner_around, inner_reference = [], member.template_value.template_ref
        if said is not None and is_nested(said):
            inner_reference = inner_reference or said.template_value.template_ref
            if said.template_value.metrics:
                inner_around = [members_of(said.template_value)]
        inner = Above(
            member.timestamp if member.HasField("timestamp") else above.timestamp,
            above.historical or member.is_historical,
            above.transient or member.is_transient,
            quality_in(member.properties) or above.quality,
            above.is_null,
            (*above.templates, reference),
        )
        if not above.is_null and (member.is_null or not member.HasField("template_value")):
            inner = null(leaves, inner_path, inner, is_null=member.is_null)
        walk(
            leaves,
            inner_path,
            member.template_value,
            inner_around,
            inner_reference,
            inner,
            definitions,
        )
    if definitions is not None and (not reference or reference not in above.templates):
        complete(leaves, path, known, named, (*above.templates, reference), definitions)


def leaf(leaves: Leaves, path: str, member: Metric, above: Above) -> None:
    if member.HasField("string_value") and not isinstance(member.string_value, str):
        leaves.bad += 1
    elif above.is_null:
        leaves.declared[path] = member.datatype
    else:
        hand_down(member, above)
        member.name = path
        member.ClearField("alias")
        leaves.given.append(member)


def complete(  # noqa: PLR0917 - as above
    leaves: Leaves,
    path: str,
    known: list[dict[str, Metric]],
    named: set[str],
    templates: tuple[str, ...],
    definitions: Definitions,
) -> None:
    """Declare the members that definitions have and the instance lacks."""
    done = set(named)
    for members in known:
        for name, member in members.items():
            if name in done:
                continue
            done.add(name)
            if not is_nested(member):
                if member.datatype != TEMPLATE:
                    leaves.declared[f"{path}/{name}"] = member.datatype
                continue
            reference = member.template_value.template_ref
            if not reference or reference not in templates:
                inner = [members_of(member.template_value), *line(definitions, reference)]
                complete(
                    leaves, f"{path}/{name}", inner, set(), (*templates, reference), definitions
                )


def line(definitions: Definitions | None, reference: str) -> list[dict[str, Metric]]:
    """The members of a definition, of its parent, and so on."""
    found: list[dict[str, Metric]] = []
    seen: set[str] = set()
    while definitions and reference and reference not in seen:
        seen.add(reference)
        definition = definitions.get(reference.removeprefix("_types_/"))
        if definition is None:
            break
        found.append(members_of(definition))
        reference = definition.template_ref
    return found


def members_of(template: Template) -> dict[str, Metric]:
    return {member.name: member for member in template.metrics if member.name}


def is_nested(member: Metric) -> bool:
    value = member.WhichOneof("value")
    if member.datatype == 0:
        return bool(value == "template_value")
    return member.datatype == TEMPLATE and value in (None, "template_value")


def null(leaves: Leaves, path: str, above: Above, *, is_null: bool) -> Above:
    nothing = Metric(is_null=True) if is_null else Metric()
    hand_down(nothing, above)
    leaves.nulls.append((path, nothing))
    return replace(above, is_null=True)


def hand_down(leaf: Metric, above: Above) -> None:
    if not leaf.HasField("timestamp") and above.timestamp is not None:
        leaf.timestamp = above.timestamp
    if above.historical:
        leaf.is_historical = True
    if above.transient:
        leaf.is_transient = True
    if above.quality is not None and quality_in(leaf.properties) is None:
        leaf.properties.keys.append("Quality")
        leaf.properties.values.append(above.quality)


def quality_in(properties: PropertySet) -> PropertyValue | None:
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == "Quality":
            return value
    return None
