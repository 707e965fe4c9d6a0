"""The configuration as it is in force, for people: without secrets, and what is not the default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr

from consumer.config import keys
from consumer.credentials import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.config.model import Configuration

_LOOSE: Final = (str, int, float, bool, type(None))


def shown(section: BaseModel) -> dict[str, Any]:
    """A section with all below it, JSON-compatible: a secret that is set is `***`.

    Names of files with secrets are left out: the secret itself may stand there by mistake.
    """
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, SecretStr):
            found[name] = MASK if value.get_secret_value() else ""
        elif not keys.is_unseen(field):
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return shown(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, _LOOSE) else str(value)


def not_default(configuration: Configuration) -> list[str]:
    """The keys whose values are not the defaults, as dotted paths with indices."""
    return [keys.dotted(location) for location in _changed(configuration, ())]


def _changed(
    section: BaseModel, location: tuple[int | str, ...]
) -> Iterator[tuple[int | str, ...]]:
    for name, field in type(section).model_fields.items():
        value, here = getattr(section, name), (*location, name)
        if isinstance(value, BaseModel):
            yield from _changed(value, here)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, each in enumerate(value):
                yield from _changed(each, (*here, index))
        elif field.is_required() or _comparable(value) != _comparable(field.default):
            yield here


def _comparable(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value
