"""Puts environment variables and the content of secret files into the values of a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from consumer.config import keys
from consumer.config.files import FileError, read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{))")
_MOST_CHARACTERS: Final = 1024 * 1024
"""Most characters of all values, once variables have been put in."""

Location = tuple[int | str, ...]


class Problem(Exception):  # noqa: N818 - collected and worded as ConfigurationError, never escapes
    """One thing that is wrong with one key."""

    def __init__(self, location: Location, text: str) -> None:
        super().__init__(text)
        self.location = location
        self.text = text


class Lookup(Protocol):
    """Gives values of environment variables by name."""

    def get(self, name: str, /) -> str | None:
        """The value of a variable; None if there is none of that name."""


class Rationed:
    """An environment that gives no more than a configuration may hold.

    A value may be long, and a file may name it a hundred thousand times.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._left = _MOST_CHARACTERS

    def get(self, name: str, /) -> str | None:
        """The value of a variable; None if there is none of that name.

        Raises:
            ValueError: too much was given.
        """
        value = self._environ.get(name)
        self._left -= len(value or "")
        if self._left < 0:
            raise ValueError("more than 1 MiB comes from environment variables; name them less")
        return value


def expand(text: str, environ: Lookup) -> str:
    """Replace ${NAME} and ${NAME:-default}; `$$` stands for one `$`.

    The default is taken when the variable is missing or empty, as in a shell.

    Raises:
        ValueError: a variable without default is missing, `${` is not closed, or too much is
            put in.
    """

    def replace(match: re.Match[str]) -> str:
        dollar, name, default, malformed = match.groups()
        if dollar:
            return "$"
        if malformed:
            raise ValueError(
                "holds '${' that is no variable; write ${NAME} or ${NAME:-default}, or $$ for $"
            )
        value = environ.get(name)
        if default is not None:
            return value or str(default)
        if value is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        return value

    return _VARIABLE.sub(replace, text)


def expand_all(value: Any, environ: Lookup, location: Location, problems: list[Problem]) -> Any:
    """Expand every string of a tree; keys without a value are left out."""
    if isinstance(value, str):
        try:
            return expand(value, environ)
        except ValueError as error:
            problems.append(Problem(location, str(error)))
            return value
    if isinstance(value, dict):
        return {
            key: expand_all(item, environ, (*location, key), problems)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [
            expand_all(item, environ, (*location, index), problems)
            for index, item in enumerate(value)
        ]
    return value


def without_secrets(value: Any, model: type[BaseModel]) -> Any:
    """The tree without its secrets and the names of their files."""
    if not isinstance(value, dict):
        return value
    hidden = {name for pair in keys.secrets(model) for name in pair}
    result = {}
    for key, item in value.items():
        field = model.model_fields.get(key)
        below = keys.nested(field) if field else None
        if key in hidden:
            continue
        if below and below.is_list and isinstance(item, list):
            result[key] = [without_secrets(entry, below.model) for entry in item]
        else:
            result[key] = without_secrets(item, below.model) if below else item
    return result


def read_secrets(
    value: Any, model: type[BaseModel], location: Location, problems: list[Problem]
) -> Any:
    """The tree with the content of every `<key>_file` under its `<key>`."""
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for key, file_key in keys.secrets(model):
        file_name = value.get(file_key)
        if not isinstance(file_name, str) or not file_name:
            continue
        if value.get(key):
            problems.append(
                Problem((*location, key), f"{key} and {file_key} are both set; remove one")
            )
            continue
        try:
            result[key] = read_secret(Path(file_name))
        except FileError as error:
            text = f"names a file that {error}"
            problems.append(Problem((*location, file_key), text))
    for key, field in model.model_fields.items():
        below = keys.nested(field)
        item = value.get(key)
        if below is None or item is None:
            continue
        here = (*location, key)
        if below.is_list and isinstance(item, list):
            result[key] = [
                read_secrets(entry, below.model, (*here, index), problems)
                for index, entry in enumerate(item)
            ]
        else:
            result[key] = read_secrets(item, below.model, here, problems)
    return result
