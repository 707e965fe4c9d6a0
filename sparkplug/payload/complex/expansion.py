"""What a template is expanded from, and what to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sparkplug.payload.complex.definitions import MAX_DEPTH, MAX_TEMPLATE_BYTES

if TYPE_CHECKING:
    from sparkplug.payload.complex.json_values import JsonValue
    from sparkplug.pb.sparkplug_b_pb2 import Metric, PropertyValue

MAX_MEMBERS: Final = 10_000
"""Default for the most members of one instance, those of nested instances included."""
MAX_PATH_CHARACTERS: Final = 16 * 1024 * 1024
"""Default for the most characters of all paths of one instance. A short template under a
long name repeats that name with every member."""


Within: TypeAlias = tuple[tuple[str, str | None], ...]
"""The instances around a leaf metric, the outermost first: path and template_ref of each."""


class MemberProblem(StrEnum):
    """Why a member gives no leaf metric. A label of a counter."""

    NAMELESS = "member_without_name"
    DAMAGED = "damaged_member"
    """Name or text of the member is not UTF-8."""
    TOO_DEEP = "member_too_deep"
    TOO_MANY = "too_many_members"
    """Counted once: it ends the expansion."""
    NESTED_DEFINITION = "nested_definition"
    """A definition inside an instance; definitions are no data."""


class TemplateValue(NamedTuple):
    """A template as a metric carries it, encoded, and what the metric says of it.

    `template` is None where the metric has no value. `timestamp` is in milliseconds since 1970
    UTC, None where there is none; `quality` is the property Quality, None where there is none.
    """

    template: bytes | None
    timestamp: int | None
    is_null: bool = False
    is_historical: bool = False
    is_transient: bool = False
    quality: PropertyValue | None = None


class ExpansionLimits(NamedTuple):
    """Bounds of what one template is expanded to.

    Instances may be nested `depth` deep; `members` counts those of nested instances as well,
    `path_characters` are those of all paths, and the template has `size` bytes at most.
    """

    depth: int = MAX_DEPTH
    members: int = MAX_MEMBERS
    path_characters: int = MAX_PATH_CHARACTERS
    size: int = MAX_TEMPLATE_BYTES


@dataclass(frozen=True, slots=True)
class TemplateInstance:
    """One template instance, the outermost or a nested one.

    `within` are the instances around its leaf metrics: those around it, and itself as the last.
    `parameters` are those that it carries; TemplateDefinitions.parameters_of adds the
    defaults of its definition.
    """

    path: str
    template_ref: str | None
    version: str | None
    parameters: dict[str, JsonValue]
    within: Within


@dataclass(frozen=True, slots=True)
class NullInstance:
    """An instance without value: all leaf metrics below `path` are null with it.

    The message does not say which those are; `leaf` is what to take for each of them. It
    has is_null unless the instance said neither that it is null nor what it is.
    """

    path: str
    leaf: Metric


@dataclass(slots=True)
class Expansion:
    """A template as leaf metrics.

    `members` are leaf metrics with a value or null, in the order of the message;
    `instance_of` has for each the index of its innermost instance in `instances`, whose
    first element is the expanded one itself. `declared` are leaf metrics, without value,
    that the definition has and the instance lacks, or that a null instance has: tags that
    exist, but no data; `declared_in` has for each the instances around it.
    `nulls` are the instances without value. A definition has none of these. `skipped`
    counts what gave no leaf metric. `members_seen` and `characters_seen` are what counts in
    the limits.
    """

    is_definition: bool
    instances: list[TemplateInstance]
    members: list[Metric] = field(default_factory=list)
    instance_of: list[int] = field(default_factory=list)
    declared: list[Metric] = field(default_factory=list)
    declared_in: list[Within] = field(default_factory=list)
    nulls: list[NullInstance] = field(default_factory=list)
    skipped: Counter[MemberProblem] = field(default_factory=Counter)
    members_seen: int = 0
    characters_seen: int = 0

    @property
    def template_ref(self) -> str | None:
        """Name of the instance's definition; of a definition, its parent's. "" is None."""
        return self.instances[0].template_ref

    @property
    def version(self) -> str | None:
        """The version, None where absent."""
        return self.instances[0].version

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters as sent: missing ones are missing."""
        return self.instances[0].parameters
