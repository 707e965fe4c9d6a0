"""Facts about the keys of the model, for error texts and for the documentation."""

from __future__ import annotations

import re
import typing
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, SecretStr

from consumer.config.section import Address, SecretFile
from consumer.config.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_NAME: Final = re.compile(r"[\w.\[\]-]{1,80}")
_TYPE_NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "true or false"}


class Nested(NamedTuple):
    """The section below a key; a list of sections when `is_list`."""

    model: type[BaseModel]
    is_list: bool


def nested(field: FieldInfo) -> Nested | None:
    """The section that a key holds, if it holds one."""
    annotation: Any = field.annotation
    is_list = typing.get_origin(annotation) is tuple
    if is_list:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Nested(annotation, is_list)
    return None


def section_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section that a location such as ("servers", 0, "tls") names."""
    section = model
    for part in location:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        below = nested(field) if field else None
        if below is None:
            return None
        section = below.model
    return section


def field_at(model: type[BaseModel], location: tuple[int | str, ...]) -> FieldInfo | None:
    """The field that a location names; for an item of a list, the list's field."""
    names = [part for part in location if isinstance(part, str)]
    if not names:
        return None
    section = section_at(model, tuple(names[:-1]))
    return section.model_fields.get(names[-1]) if section else None


def is_secret(field: FieldInfo) -> bool:
    """Whether the key holds a secret, and so may come from `<key>_file`."""
    return field.annotation is SecretStr


def is_unseen(field: FieldInfo) -> bool:
    """Whether nothing of the key's value may be quoted: a secret, or the name of its file."""
    return is_secret(field) or SecretFile in field.metadata


def is_address(field: FieldInfo) -> bool:
    """Whether the key holds an address."""
    return Address in field.metadata


def secrets(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Pairs (key, key of its file) of a section's secrets."""
    for name, field in model.model_fields.items():
        if is_secret(field):
            yield name, f"{name}_file"


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that holds no section, as a dotted path without indices."""
    for name, field in model.model_fields.items():
        below = nested(field)
        if below is None:
            yield prefix + name
        else:
            yield from paths(below.model, f"{prefix}{name}.")


def dotted(location: tuple[int | str, ...]) -> str:
    """Write a location as users see it: servers[0].tls.ca_file.

    Keys that are no names are not quoted: an address, with its password, may have become one.
    """
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _NAME.fullmatch(part) else '(no name)'}"
    return text.removeprefix(".")


def _reads_with(field: FieldInfo, parser: object) -> bool:
    return any(isinstance(m, BeforeValidator) and m.func is parser for m in field.metadata)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values a key may take, when they are few."""
    if typing.get_origin(field.annotation) is Literal:
        return tuple(str(value) for value in typing.get_args(field.annotation))
    return ()


def type_text(field: FieldInfo) -> str:
    """The key's type in words."""
    if _reads_with(field, parse_size):
        return "size"
    if _reads_with(field, parse_duration):
        return "duration"
    if is_secret(field):
        return "secret"
    if choices(field):
        return "one of " + ", ".join(choices(field))
    if typing.get_origin(field.annotation) is tuple:
        return "list of texts"
    return _TYPE_NAMES.get(typing.cast("type", field.annotation), "text")


def bounds(field: FieldInfo) -> str:
    """The key's bounds in words; empty when it has none."""
    least, most = "", ""
    for constraint in field.metadata:
        match constraint:
            case Ge(ge=limit):
                least = f"at least {number(field, limit)}"
            case Gt(gt=limit):
                least = f"more than {number(field, limit)}"
            case Le(le=limit):
                most = f"at most {number(field, limit)}"
            case Lt(lt=limit):
                most = f"less than {number(field, limit)}"
            case _:
                continue
    if least.startswith("at least ") and most.startswith("at most "):
        return f"{least.removeprefix('at least ')} to {most.removeprefix('at most ')}"
    return ", ".join(part for part in (least, most) if part)


def number(field: FieldInfo, value: Any) -> str:
    """Write a number in the key's unit."""
    if _reads_with(field, parse_size):
        text = format_size(value)
        return text if len(text) < len("1024KiB") else f"{value:,} bytes"
    if _reads_with(field, parse_duration):
        return format_duration(value)
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"
