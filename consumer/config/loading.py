"""Reads a configuration and says in one line what is wrong with it."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from consumer.config import keys
from consumer.config.addresses import is_quotable
from consumer.config.model import Configuration
from consumer.config.reading import (
    Location,
    Problem,
    Rationed,
    expand_all,
    read_secrets,
    without_secrets,
)
from consumer.config.section import WITHOUT_SECRETS, ConflictError
from consumer.config.yaml_file import read_yaml
from consumer.credentials import holds_credentials
from consumer.errors import ConfigurationError
from consumer.foreign import is_fit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_BOUNDS: Final = {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}
# First word of pydantic's error type -> what to write instead.
_TEXTS: Final = {
    "bool": "must be true or false",
    "finite": "must be a finite number",
    "float": "must be a number",
    "int": "must be a whole number",
    "path": "must be text",
    "string": "must be text",
    "string_too_long": "is too long",
    "too": "must not be empty",
    "tuple": "must be a list, even of one: write '- ' before each item, or [...]",
}
_LONGEST_SHOWN: Final = 80
_LARGEST_SHOWN: Final = 10**_LONGEST_SHOWN
_MOST_NAMED: Final = 5
_WITH_DEFAULT: Final = re.compile(r"\$\{(\w{1,64}):-[^}]*\}")


def load(path: Path, environ: Mapping[str, str], *, secrets: bool | str = True) -> Configuration:
    """Read a configuration file.

    Args:
        path: The YAML file.
        environ: Where ${NAME} is looked up, usually os.environ.
        secrets: False for readers that need none: they are neither expanded, nor read
            from their files, nor required, and are empty in the result. The name of a
            section for readers that need those of this one.

    Raises:
        ConfigurationError: one line `file: key: what is wrong; how to mend it`.
    """
    return parse(read_yaml(path), source=str(path), environ=environ, secrets=secrets)


def parse(
    mapping: Mapping[str, Any],
    *,
    source: str = "configuration",
    environ: Mapping[str, str] | None = None,
    secrets: bool | str = True,
) -> Configuration:
    """Check a configuration that is already in memory.

    Args:
        mapping: Keys and values as YAML would give them.
        source: What error texts name instead of a file.
        environ: Where ${NAME} is looked up; nothing is known by default.
        secrets: False for readers that need none: they are neither expanded, nor read
            from their files, nor required, and are empty in the result. The name of a
            section for readers that need those of this one.

    Raises:
        ConfigurationError: one line `source: key: what is wrong; how to mend it`.
    """
    problems = _unknown_keys(mapping, Configuration, ())
    written = dict(mapping)
    if secrets is not True:
        written = without_secrets(mapping, Configuration)
        written |= {key: value for key, value in mapping.items() if key == secrets}
    values = expand_all(written, Rationed(environ or {}), (), problems)
    if secrets:
        values = read_secrets(values, Configuration, (), problems)
    if problems:
        raise _error(source, problems)
    try:
        return Configuration.model_validate(
            values, context=None if secrets is True else WITHOUT_SECRETS
        )
    except ValidationError as error:
        details = error.errors()
        # A list of which every item failed is reported as too short, besides its items.
        problems = [
            _worded(detail, written)
            for detail in details
            if detail["type"] != "too_short" or not _at(written, detail["loc"])
        ]
    raise _error(source, problems)


def _error(source: str, problems: list[Problem]) -> ConfigurationError:
    first, *others = problems
    where = keys.dotted(first.location)
    text = f"{source}: {where}: {first.text}" if where else f"{source}: {first.text}"
    if others:
        names = list(dict.fromkeys(keys.dotted(other.location) for other in others))
        named = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        text += f" (and {len(others)} more: {named})"
    return ConfigurationError(text.replace("\n", " "))


def _unknown_keys(value: Any, model: Any, location: Location) -> list[Problem]:
    """Keys that the model does not have, at every level."""
    if not isinstance(value, dict):
        return []
    found: list[Problem] = []
    for key, item in value.items():
        here = (*location, key if isinstance(key, str) else str(key))
        field = model.model_fields.get(key)
        if field is None:
            # Only the first is told; there may be thousands.
            found.append(Problem(here, "" if found else _suggestion(key, model)))
            continue
        below = keys.nested(field)
        if below is None:
            continue
        if below.is_list and isinstance(item, list):
            for index, entry in enumerate(item):
                found += _unknown_keys(entry, below.model, (*here, index))
        else:
            found += _unknown_keys(item, below.model, here)
    return found


def _suggestion(key: object, model: Any) -> str:
    known = list(model.model_fields)
    if not isinstance(key, str):
        return "keys must be text: put it in quotes"
    if len(key) > _LONGEST_SHOWN:
        return f"unknown key; known here: {', '.join(known)}"
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    if near:
        return f"unknown key; did you mean '{near[0]}'?"
    elsewhere = [path for path in keys.paths(Configuration) if path.split(".")[-1] == key]
    if elsewhere:
        return f"unknown key here; did you mean '{elsewhere[0]}'?"
    return f"unknown key; known here: {', '.join(known)}"


def _worded(detail: ErrorDetails, written: Any) -> Problem:
    """Put pydantic's report into the words of the configuration's reader."""
    location = detail["loc"]
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, ConflictError):
        return Problem((*location, error.key), str(error))
    field = keys.field_at(Configuration, location)
    kind = detail["type"]
    if kind == "missing":
        example = "as in examples/sparkplug-zerobus.yaml"
        if field and field.examples:
            example = f"for example {field.examples[0]}"
        return Problem(location, f"missing; add it, {example}")
    text = _text(kind, detail, field)
    value = _at(written, location)
    shown = _shown(value, field)
    if shown:
        text += f" (it is {shown})"
    if kind == "string_type":
        text += _quotes(value)
    return Problem(location, text)


def _text(kind: str, detail: ErrorDetails, field: Any) -> str:
    error = detail.get("ctx", {}).get("error")
    if error is not None:
        return str(error)
    if field is not None and kind in _BOUNDS:
        return f"must be {keys.bounds(field)}"
    if kind == "literal_error":
        return f"must be {keys.type_text(field)}"
    if kind in ("model_type", "model_attributes_type"):
        section = keys.section_at(Configuration, detail["loc"]) or Configuration
        return f"must hold keys, such as {', '.join(list(section.model_fields)[:3])}"
    return (
        _TEXTS.get(kind.split("_", maxsplit=1)[0]) or detail["msg"][:1].lower() + detail["msg"][1:]
    )


def _quotes(value: Any) -> str:
    if isinstance(value, bool):
        return "; put it in quotes: YAML reads yes, no, on and off as true or false"
    return "" if isinstance(value, dict | list) else "; put it in quotes"


def _at(tree: Any, location: Location) -> Any:
    """The value as it is written, before ${...} is expanded: that may be a secret."""
    for part in location:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _shown(value: Any, field: FieldInfo | None) -> str:
    """A value as it may be quoted; empty where it may not, for it may hold a secret."""
    if value is None or field is None or keys.is_unseen(field):
        return ""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a section"
    if isinstance(value, str):
        return "" if keys.nested(field) else _quoted(value, field)
    if isinstance(value, int) and abs(value) > _LARGEST_SHOWN:
        return "a number with many digits"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(value: str, field: FieldInfo) -> str:
    # What stands there in case a variable is missing may be a secret.
    text = _WITH_DEFAULT.sub(r"${\1:-...}", value)
    if not is_fit(text) or holds_credentials(text):
        return ""
    if keys.is_address(field) and not is_quotable(text):
        return ""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
