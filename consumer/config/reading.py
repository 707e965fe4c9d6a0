"""From a YAML file to plain values: duplicate keys, environment variables, secret files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from consumer.config import keys
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{))")
_DEEPEST: Final = 10
_TOO_DEEP: Final = "is nested too deeply; no key of a configuration is deeper than 4 levels"
_MAX_SECRET_BYTES: Final = 64 * 1024

Location = tuple[int | str, ...]


class Problem(Exception):  # noqa: N818 - collected and worded as ConfigurationError, never escapes
    """One thing that is wrong with one key."""

    def __init__(self, location: Location, text: str) -> None:
        super().__init__(text)
        self.location = location
        self.text = text


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML takes the last of two equal keys without a word; this refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                raise _DuplicateKeyError(key.value, seen[key.value], line)
            seen[key.value] = line
        return super().construct_mapping(node, deep=deep)


class _DuplicateKeyError(Exception):
    def __init__(self, key: str, first: int, second: int) -> None:
        super().__init__(f"{key}: is given twice, in lines {first} and {second}; remove one")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigurationError: it cannot be read or is not such a file. The text quotes
            nothing of the file but the names of keys: a value may be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: no such file; start from examples/sparkplug-zerobus.yaml"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from None
    data = _parse_yaml(text, path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: must hold keys, such as servers: and zerobus:")
    if _is_deeper(data, _DEEPEST):
        raise ConfigurationError(f"{path}: {_TOO_DEEP}")
    return data


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except _DuplicateKeyError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # The problem may quote a value: keep single characters only.
        what = re.sub(r"\s*(['\"]).{2,}\1", "", error.problem or "syntax error").removesuffix(
            ", but found"
        )
        raise ConfigurationError(
            f"{path}: {where}not valid YAML ({what}); indent with spaces, and quote text that "
            "begins with one of * & ! % @ ` or holds ': '"
        ) from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{path}: is not text that YAML allows") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: {_TOO_DEEP}") from None


def _is_deeper(value: object, depth: int) -> bool:
    """Whether a tree is deeper than any configuration, as one that holds itself is."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in items)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace ${NAME} and ${NAME:-default}; `$$` stands for one `$`.

    The default is taken when the variable is missing or empty, as in a shell.

    Raises:
        ValueError: a variable without default is missing, or `${` is not closed.
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


def expand_all(
    value: Any, environ: Mapping[str, str], location: Location, problems: list[Problem]
) -> Any:
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
            result[key] = _read_secret(Path(file_name))
        except ValueError as error:
            problems.append(Problem((*location, file_key), str(error)))
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


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_SECRET_BYTES:
        raise ValueError(f"{path} is larger than 64 KiB: no secret")
    try:
        secret = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError(f"{path} is empty")
    return secret
