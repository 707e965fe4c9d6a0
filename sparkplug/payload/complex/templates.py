"""Template values flattened to leaf metrics (specification 6.4.17).

The member "speed" of the instance "line 1/motor" becomes the metric "line 1/motor/speed",
at any depth, which is also what a gateway publishes that flattens its UDTs itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sparkplug.datatypes import DataType
from sparkplug.names import QUALITY
from sparkplug.payload.complex.definitions import (
    Declared,
    Shape,
    TemplateDefinitions,
    TemplateProblem,
    is_template,
    parameters_of,
    parse_template,
)
from sparkplug.payload.complex.expansion import (
    Expansion,
    ExpansionLimits,
    MemberProblem,
    NullInstance,
    TemplateInstance,
)
from sparkplug.payload.complex.json_values import decoded, text_of
from sparkplug.pb.sparkplug_b_pb2 import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparkplug.payload.complex.expansion import TemplateValue, Within
    from sparkplug.pb.sparkplug_b_pb2 import PropertySet, PropertyValue, Template

_PERHAPS_TEMPLATE: Final = (DataType.Unknown, DataType.Template)
_LIMITS: Final = ExpansionLimits()


def expand(
    name: str,
    value: TemplateValue,
    definitions: TemplateDefinitions | None = None,
    limits: ExpansionLimits = _LIMITS,
) -> Expansion | TemplateProblem:
    """Flatten the value of the Template metric `name`.

    Every leaf has the path as name, no alias, and a timestamp of its own, its nested
    instance's, or the value's, in this order; it is historical or transient if it or an
    instance around it is. Its property Quality is its own, its nested instance's, or the
    value's. All else, properties and unknown fields included, is the member's. An instance that
    is null, or has no template, gives no member a value: see Expansion.nulls.

    Pass `definitions` for births only: they give members without datatype their declared
    one, and fill `declared`. Data may have any subset of the members, and only that
    subset is given.
    """
    parsed = parse_template(value.template or b"", limits.size)
    if isinstance(parsed, TemplateProblem):
        return parsed
    first = _instance(name, parsed, None, ())
    expansion = Expansion(parsed.is_definition, [first])
    if not parsed.is_definition:
        walk = _Walk(expansion, definitions, limits)
        shape = Shape(first.template_ref)
        timestamp = value.timestamp
        if timestamp is not None and not 0 <= timestamp < 1 << 64:
            timestamp = None  # no time that a metric could carry
        context = _Context(
            timestamp,
            value.is_historical,
            value.is_transient,
            value.quality,
            limits.depth,
            _and((), shape),
        )
        has_value = value.template is not None
        try:
            walk.start(parsed, shape, context, says_null=value.is_null, has_value=has_value)
        except _LimitError:
            expansion.skipped[MemberProblem.TOO_MANY] += 1
        expansion.members_seen = limits.members - walk.members_left
        expansion.characters_seen = limits.path_characters - walk.characters_left
        _without_doubles(expansion)
    return expansion


@dataclass(frozen=True, slots=True)
class _Context:
    """Properties and limits of a template instance that hold for its members as well."""

    timestamp: int | None
    is_historical: bool
    is_transient: bool
    quality: PropertyValue | None
    depth: int
    around: frozenset[str]  # template_refs of this instance and those around it
    completes: bool = True  # False in a cycle: what is there is taken, nothing is declared
    is_null: bool = False  # this instance or one around it: members are declared, not data

    def inside(self, member: Metric, shape: Shape) -> _Context:
        return _Context(
            member.timestamp if member.HasField("timestamp") else self.timestamp,
            self.is_historical or member.is_historical,
            self.is_transient or member.is_transient,
            quality_of(member.properties) or self.quality,
            self.depth - 1,
            _and(self.around, shape),
            shape.template_ref not in self.around,
            self.is_null,
        )

    def hand_down(self, leaf: Metric) -> None:
        """Give a leaf what its instance says and the leaf does not."""
        if self.timestamp is not None and not leaf.HasField("timestamp"):
            leaf.timestamp = self.timestamp
        if self.is_historical:
            leaf.is_historical = True
        if self.is_transient:
            leaf.is_transient = True
        if self.quality is not None:
            properties = leaf.properties
            even = len(properties.keys) == len(properties.values)
            if even and QUALITY not in properties.keys:
                properties.keys.append(QUALITY)
                properties.values.append(self.quality)


class _LimitError(Exception):
    """The expansion has reached a limit."""


class _Walk:
    """One expansion: goes through the members and keeps within the limits."""

    def __init__(
        self,
        expansion: Expansion,
        definitions: TemplateDefinitions | None,
        limits: ExpansionLimits,
    ) -> None:
        self._into = expansion
        self._definitions = definitions
        self.members_left = limits.members
        self.characters_left = limits.path_characters

    def start(
        self,
        template: Template,
        shape: Shape,
        context: _Context,
        *,
        says_null: bool,
        has_value: bool,
    ) -> None:
        """Expand the outermost instance."""
        if says_null or not has_value:
            context = self._null(self._into.instances[0].path, context, says_null=says_null)
        self.instance(0, template, shape, context)

    def instance(self, index: int, template: Template, shape: Shape, context: _Context) -> None:
        """Expand one instance; `index` is its own in Expansion.instances."""
        prefix = self._into.instances[index].path + "/"
        lines = [] if self._definitions is None else self._definitions.lines(shape)
        given: set[str] = set()
        for member in template.metrics:
            name = decoded(member.name)
            path = self._within_limits(prefix, name or "")
            if not name:
                self._skip(MemberProblem.DAMAGED if name is None else MemberProblem.NAMELESS)
                continue
            declared = None
            if lines:
                given.add(name)
                declared = next((members[name] for members in lines if name in members), None)
                if declared is not None and declared.datatype and not member.datatype:
                    member.datatype = declared.datatype
            if member.datatype in _PERHAPS_TEMPLATE and is_template(member):
                self._nested(index, path, member, declared, context)
            else:
                self._leaf(index, path, member, context)
        if self._definitions is not None and context.completes:
            for name, declared in self._definitions.members(lines):
                if name not in given:
                    path = self._within_limits(prefix, name)
                    within = self._into.instances[index].within
                    self._declare(path, declared, within, context.depth, context.around)

    def _nested(
        self, outer: int, path: str, member: Metric, declared: Declared | None, context: _Context
    ) -> None:
        """Expand an instance in the instance with the index `outer`."""
        template = member.template_value  # empty where the member has none
        if template.is_definition:
            self._skip(MemberProblem.NESTED_DEFINITION)
        elif context.depth <= 1:
            self._skip(MemberProblem.TOO_DEEP)
        else:
            by_definition = declared.shape if declared else None
            around = self._into.instances[outer].within
            instance = _instance(path, template, by_definition, around)
            self._into.instances.append(instance)
            shape = Shape(instance.template_ref, by_definition.members if by_definition else {})
            index = len(self._into.instances) - 1
            inner = context.inside(member, shape)
            has_value = member.HasField("template_value")
            if not context.is_null and (member.is_null or not has_value):
                inner = self._null(path, inner, says_null=member.is_null)
            self.instance(index, template, shape, inner)

    def _leaf(self, index: int, path: str, member: Metric, context: _Context) -> None:
        if member.HasField("string_value") and decoded(member.string_value) is None:
            self._skip(MemberProblem.DAMAGED)
            return
        if context.is_null:
            self._declare_leaf(path, member.datatype, self._into.instances[index].within)
            return
        member.name = path
        member.ClearField("alias")
        context.hand_down(member)
        self._into.members.append(member)
        self._into.instance_of.append(index)

    def _null(self, path: str, context: _Context, *, says_null: bool) -> _Context:
        """Note that an instance is null; the context for what its definition declares."""
        leaf = Metric(is_null=True) if says_null else Metric()
        context.hand_down(leaf)
        self._into.nulls.append(NullInstance(path, leaf))
        return replace(context, is_null=True)

    def _declare_leaf(self, path: str, datatype: int, within: Within) -> None:
        leaf = Metric(name=path)
        if datatype:
            leaf.datatype = datatype
        self._into.declared.append(leaf)
        self._into.declared_in.append(within)

    def _declare(
        self,
        path: str,
        declared: Declared,
        within: Within,
        depth: int,
        around: frozenset[str],
    ) -> None:
        """Add what a definition says of a member that the instance lacks."""
        shape = declared.shape
        if shape is None:
            if declared.datatype != DataType.Template:
                self._declare_leaf(path, declared.datatype, within)
            return
        if shape.template_ref in around or self._definitions is None:
            return  # a cycle ends here
        if depth <= 1:
            self._skip(MemberProblem.TOO_DEEP)
            return
        within = (*within, (path, shape.template_ref))
        for name, inner in self._definitions.members(self._definitions.lines(shape)):
            inner_path = self._within_limits(path + "/", name)
            self._declare(inner_path, inner, within, depth - 1, _and(around, shape))

    def _skip(self, problem: MemberProblem) -> None:
        self._into.skipped[problem] += 1

    def _within_limits(self, prefix: str, name: str) -> str:
        """The path of one more member.

        Raises:
            _LimitError: There is no room for it.
        """
        self.members_left -= 1
        self.characters_left -= len(prefix) + len(name)
        if self.members_left < 0 or self.characters_left < 0:
            raise _LimitError
        return prefix + name


def _without_doubles(expansion: Expansion) -> None:
    """Declare each leaf once, and none that is there: a name may occur twice in a message."""
    if expansion.declared:
        seen = {leaf.name for leaf in expansion.members}
        by_name = {
            leaf.name: (leaf, within)
            for leaf, within in zip(expansion.declared, expansion.declared_in, strict=True)
            if leaf.name not in seen
        }
        expansion.declared = [leaf for leaf, _ in by_name.values()]
        expansion.declared_in = [within for _, within in by_name.values()]


def quality_of(properties: PropertySet) -> PropertyValue | None:
    """The property Quality of a metric, None where it has none."""
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == QUALITY:
            return value
    return None


def _instance(
    path: str, template: Template, declared: Shape | None, around: Within
) -> TemplateInstance:
    ref = text_of(template, "template_ref") or (declared.template_ref if declared else None) or None
    return TemplateInstance(
        path,
        ref,
        text_of(template, "version"),
        parameters_of(template),
        (*around, (path, ref)),
    )


def _and(around: Iterable[str], shape: Shape) -> frozenset[str]:
    return frozenset(around) | ({shape.template_ref} if shape.template_ref else frozenset())
