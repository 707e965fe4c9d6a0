"""Template definitions of an edge node: which members a template has, and of which type.

A definition is declared in the NBIRTH (specification 6.4.17). It may have a parent, whose
members it inherits: Ignition writes the parent's name into the definition's template_ref.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sparkplug.datatypes import DataType, from_code
from sparkplug.payload.complex.json_values import MISFIT, JsonValue, decoded, text_of, value_of
from sparkplug.pb.sparkplug_b_pb2 import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sparkplug.pb.sparkplug_b_pb2 import Metric

MAX_DEPTH: Final = 16
"""Most levels that templates may be nested, and most parents in a line of definitions."""
MAX_TEMPLATE_BYTES: Final = 4 * 1024 * 1024
"""Default for the most bytes of one encoded template. Empty members take 2 bytes on the
wire and a multiple of that in memory, so the bytes are bounded before they are parsed."""

_FOLDER: Final = "_types_/"
"""Ignition's folder of definitions: the metric of "Motor" is named "_types_/Motor"."""


class TemplateProblem(StrEnum):
    """Why a template cannot be read at all. A label of a counter."""

    MALFORMED = "malformed_template"
    """The bytes are no Template."""
    TOO_LARGE = "template_too_large"
    """The template has more bytes than the limit."""


class DefinitionProblem(StrEnum):
    """Why a definition is not remembered. A label of a counter."""

    UNREADABLE = "unreadable_definition"
    """The bytes of the definition are no Template."""
    NO_DEFINITION = "no_definition"
    """The template is an instance, not a definition."""
    TOO_MANY = "too_many_definitions"
    """The node has reached the limit of definitions, of their members or of their bytes."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a definition says of one member.

    `datatype` is the wire code, 0 if none was given. `shape` is there for members that
    are templates themselves.
    """

    datatype: int
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """Declarations of an instance's members: `members` first, then the definition it refers to."""

    template_ref: str | None = None
    members: Mapping[str, Declared] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Definition:
    shape: Shape  # its template_ref is the parent's
    defaults: Mapping[str, JsonValue]
    version: str | None


class TemplateDefinitions:
    """The definitions of one edge node. `len()` is their number.

    The limits are on all definitions of the node together; `max_bytes` counts them encoded.
    """

    def __init__(
        self,
        *,
        max_definitions: int = 1000,
        max_members: int = 50_000,
        max_bytes: int = MAX_TEMPLATE_BYTES,
    ) -> None:
        self._max_definitions = max_definitions
        self._max_members = max_members
        self._max_bytes = max_bytes
        self._bytes = 0
        self._by_name: dict[str, _Definition] = {}
        self._members = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, template_ref: str) -> bool:
        return template_ref in self._by_name

    @property
    def members_in_all(self) -> int:
        """Members of all definitions together."""
        return self._members

    @property
    def bytes_in_all(self) -> int:
        """Bytes of all definitions together, encoded."""
        return self._bytes

    def replace(self, definitions: Iterable[tuple[str, bytes]]) -> list[DefinitionProblem]:
        """Forget all, remember these (metric name, encoded Template): an NBIRTH's.

        Returns why some are not remembered. Of two with the same name the later counts.
        """
        self._by_name.clear()
        self._members = 0
        self._bytes = 0
        problems = (self._add(name, template) for name, template in definitions)
        return [problem for problem in problems if problem is not None]

    def lines(self, shape: Shape) -> list[Mapping[str, Declared]]:
        """Declarations of the members of an instance, by name, the nearest ones first."""
        nearest = [shape.members] if shape.members else []
        return [*nearest, *(each.shape.members for each in self._line(shape.template_ref))]

    @staticmethod
    def members(lines: Iterable[Mapping[str, Declared]]) -> Iterator[tuple[str, Declared]]:
        """All members of some lines by name, inherited ones after own ones, each once."""
        nearer: list[Mapping[str, Declared]] = []
        for members in lines:
            for name, declared in members.items():
                if not any(name in seen for seen in nearer):
                    yield name, declared
            nearer.append(members)

    def parameters_of(
        self, template_ref: str | None, given: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """An instance's parameters: those given, and the defaults of the ones it lacks.

        A parameter without value takes the default too; without default it stays null.
        """
        merged: dict[str, JsonValue] = {}
        for definition in reversed([*self._line(template_ref)]):
            merged |= definition.defaults
        merged |= {name: value for name, value in given.items() if value is not None}
        return dict.fromkeys(given) | merged

    def _add(self, name: str, encoded: bytes) -> DefinitionProblem | None:
        template = parse_template(encoded, self._max_bytes - self._bytes)
        if template is TemplateProblem.TOO_LARGE:
            return DefinitionProblem.TOO_MANY
        if isinstance(template, TemplateProblem):
            return DefinitionProblem.UNREADABLE
        if not template.is_definition:
            return DefinitionProblem.NO_DEFINITION
        count = _count(template, self._max_members - self._members)
        known = len(self._by_name)
        if known >= self._max_definitions or self._members + count > self._max_members:
            return DefinitionProblem.TOO_MANY
        self._members += count
        self._bytes += len(encoded)
        self._by_name[definition_name(name)] = _Definition(
            _shape(template, MAX_DEPTH),
            parameters_of(template),
            text_of(template, "version"),
        )
        return None

    def _line(self, template_ref: str | None) -> Iterator[_Definition]:
        """A definition, its parent, the parent's parent; cycles are cut."""
        seen: set[str] = set()
        while template_ref and template_ref not in seen and len(seen) < MAX_DEPTH:
            seen.add(template_ref)
            definition = self._by_name.get(definition_name(template_ref))
            if definition is None:
                return
            yield definition
            template_ref = definition.shape.template_ref


def definition_name(text: str) -> str:
    """The name of a definition, out of that of its metric, or out of a template_ref to it."""
    return text.removeprefix(_FOLDER)


def parse_template(encoded: bytes, max_bytes: int) -> Template | TemplateProblem:
    """An encoded Template, or why it cannot be read."""
    if len(encoded) > max_bytes:
        return TemplateProblem.TOO_LARGE
    try:
        return Template.FromString(encoded)
    except DecodeError:
        return TemplateProblem.MALFORMED


def parameters_of(template: Template) -> dict[str, JsonValue]:
    """The parameters as sent, by name; null where one is listed without value.

    A value that does not fit its type is shown as it is on the wire.
    """
    found: dict[str, JsonValue] = {}
    for parameter in template.parameters:
        name = text_of(parameter, "name")
        if name:
            value = value_of(parameter, from_code(parameter.type))
            if value is MISFIT:
                value = value_of(parameter, DataType.Unknown)
            found[name] = None if value is MISFIT else value
    return found


def is_template(member: Metric) -> bool:
    """Whether a metric is a template, by its datatype or, without one, by its value.

    One that has the datatype and another value is not: there are no members to be found.
    """
    datatype: int = member.datatype
    field: str | None = member.WhichOneof("value")
    if datatype == DataType.Unknown:
        return field == "template_value"
    return datatype == DataType.Template and field in (None, "template_value")


def _shape(template: Template, depth: int) -> Shape:
    members: dict[str, Declared] = {}
    for member in template.metrics:
        name = decoded(member.name)
        if name:
            nested = is_template(member) and depth > 1
            shape = _shape(member.template_value, depth - 1) if nested else None
            members[name] = Declared(member.datatype, shape)
    return Shape(text_of(template, "template_ref"), members)


def _count(template: Template, limit: int) -> int:
    """Members on all levels; counting stops beyond the limit."""
    count = len(template.metrics)
    for member in template.metrics:
        if count > limit:
            break
        if member.HasField("template_value"):
            count += _count(member.template_value, limit - count)
    return count
