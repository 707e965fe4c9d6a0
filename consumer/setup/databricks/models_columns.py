"""Which columns a template has: members, as births have declared them so far, and their types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.setup.databricks.models_names import Names, column_name, view_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_COLUMNS: Final = 1_000
"""Columns of members that one view has at most."""
MOST_TEMPLATES: Final = 500
"""Templates that have views at most."""

KEYS: Final = ("source_system_id", "group_id", "edge_node_id", "device_id", "instance")
"""Columns that name an instance."""
FIXED: Final = (*KEYS, "event_time", "quality", "members_changed")
"""Columns that all views of templates have, in this order; `members` instead of the last in the
view of latest values."""
ENDINGS: Final = ("", "_filled", "_latest")
"""Endings of the names of the views of one template."""

INTEGERS: Final = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32")
UNSIGNED: Final = ("UInt64",)
FLOATS: Final = ("Float", "Double")
NUMBERS: Final = (*INTEGERS, *UNSIGNED, *FLOATS)


class Family(StrEnum):
    """Datatypes whose values go into one column, widened where they differ."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    TEXT = "text"


def family_of(data_type: str) -> Family:
    """The family of a datatype by its Sparkplug name; what is no scalar is text."""
    if data_type in NUMBERS:
        return Family.NUMBER
    return {"Boolean": Family.BOOLEAN, "DateTime": Family.TIME}.get(data_type, Family.TEXT)


class Declared(NamedTuple):
    """A member of a template with one of the datatypes that births have declared.

    `member` is its path below the instance, parts between slashes; `first_told` when the first row
    of tag_metadata with it was made, as a text that sorts like the times: by the clock of the
    consumer, because an edge node that comes late may have one that is behind.
    """

    template: str
    member: str
    data_type: str
    first_told: str


@dataclass(frozen=True, slots=True)
class MemberColumn:
    """One column of a view.

    Attributes:
        name: of the column, without quotes.
        member: path of the member below the instance.
        family: whose values it has.
        delta_type: its type: BIGINT, DECIMAL(20,0), DOUBLE, BOOLEAN, TIMESTAMP, STRING.
        is_alone: whether the member has no column of another family.
    """

    name: str
    member: str
    family: Family
    delta_type: str
    is_alone: bool


@dataclass(frozen=True, slots=True)
class TemplateModel:
    """What the views of one template are made of.

    Attributes:
        template: name of the definition, as publishers write it.
        view: name of its view, without catalog and schema; the others have ENDINGS.
        columns: in order: by the first birth that had the member, then by its path.
        left_out: columns beyond MOST_COLUMNS.
    """

    template: str
    view: str
    columns: tuple[MemberColumn, ...]
    left_out: int


def template_models(
    declared: Iterable[Declared], prefix: str, reserved: Iterable[str] = ()
) -> list[TemplateModel]:
    """The templates with their columns, the first seen first.

    Names depend on what was seen first: what comes later changes none that was given before.

    Args:
        declared: all that was ever declared, in any order.
        prefix: what the names of all views begin with.
        reserved: names in the schema that views must not have.
    """
    ordered = sorted(declared, key=lambda each: (each.template, each.first_told, each.member))
    templates = [
        (name, [*members]) for name, members in groupby(ordered, lambda each: each.template)
    ]
    templates.sort(key=lambda each: (each[1][0].first_told, each[0]))
    names = Names(*reserved)
    models = []
    for template, members in templates[:MOST_TEMPLATES]:
        view = names.give(prefix + view_part(template), template, ENDINGS)
        columns = _columns(members)
        shown = tuple(columns[:MOST_COLUMNS])
        models.append(TemplateModel(template, view, shown, len(columns) - len(shown)))
    return models


def _columns(declared: Sequence[Declared]) -> list[MemberColumn]:
    """Columns of one template; `declared` is in the order of its first births."""
    found: dict[str, dict[Family, set[str]]] = {}
    for each in declared:
        families = found.setdefault(each.member, {})
        families.setdefault(family_of(each.data_type), set()).add(each.data_type)
    names = Names(*FIXED, "members")
    columns = []
    for member, families in found.items():
        wanted = column_name(member)
        for index, (family, data_types) in enumerate(families.items()):
            own = f"{wanted}_as_{family}" if index else wanted
            name = names.give(own, f"{member}\0{family}" if index else member)
            columns.append(
                MemberColumn(name, member, family, _type(family, data_types), len(families) == 1)
            )
    return columns


def _type(family: Family, data_types: set[str]) -> str:
    if family is Family.NUMBER:
        if data_types & set(FLOATS):
            return "DOUBLE"
        return "DECIMAL(20,0)" if data_types & set(UNSIGNED) else "BIGINT"
    return {Family.BOOLEAN: "BOOLEAN", Family.TIME: "TIMESTAMP"}.get(family, "STRING")
