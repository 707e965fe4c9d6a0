"""What all sections of the configuration share: base class, types, small checks."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)

from consumer.config.units import parse_duration, parse_size
from consumer.credentials import holds_credentials
from consumer.foreign import is_fit

WITHOUT_SECRETS: Final = {"without_secrets": True}
"""Validation context of a reader that needs no secrets, and may not be able to see them."""

HOLDS_CREDENTIALS: Final = "must not look like an address with a password, or like a key, in it"
BELONG: Final = "passwords belong into files, which password_file and the like name"

TEMPLATE_NAMES: Final = ("site", "server", "group_id", "edge_node_id", "device_id", "metric")
_PLACEHOLDER: Final = re.compile("|".join(rf"\{{{name}\}}" for name in TEMPLATE_NAMES))
_NAME: Final = re.compile(r"[\w.!-]{1,64}", re.ASCII)


class Mark(NamedTuple):
    """An annotation of a key: what may be quoted of its value."""

    meaning: Literal["name of a secret's file", "address", "user name"]


SecretFile: Final = Mark("name of a secret's file")
"""Marks a key whose value is not quoted: the secret itself may stand there by mistake."""

Address: Final = Mark("address")
"""Marks a key whose value is quoted where no password could be in it."""

UserName: Final = Mark("user name")
"""Marks a key whose value may look like `a:b@c`: a name with a virtual host or a domain."""


class Section(BaseModel):
    """A section: immutable, no key that is not declared, no value in pydantic's own errors.

    What is no secret by its type holds none: whoever reads the model may show it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _holds_no_credentials(cls, value: object, info: ValidationInfo) -> object:
        marks = cls.model_fields[info.field_name or ""].metadata
        if SecretFile in marks or UserName in marks:
            return value
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(t, str | Path) and holds_credentials(_literal(str(t))) for t in texts):
            raise ValueError(f"{HOLDS_CREDENTIALS}; {BELONG}")
        return value


class ConflictError(ValueError):
    """A problem found by comparing keys; `key` is relative to the section that compares."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def wants_secrets(context: object) -> bool:
    """Whether required secrets must be there in this validation context."""
    return context != WITHOUT_SECRETS


def check_file_name(name: str) -> str:
    """The name of a file.

    Raises:
        ValueError: it is what should be in the file, or an address.
    """
    if not is_fit(name) or "-----BEGIN" in name:
        raise ValueError("must be the name of a file, not what is in it")
    if "://" in name:
        raise ValueError("must be the name of a file, not an address")
    return name


def _literal(text: str) -> str:
    """A text without the placeholders of a template: what is between ':' and '@' may be one."""
    return _PLACEHOLDER.sub("", text)


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _check_template(template: str) -> str:
    names = re.findall(r"\{([^{}]*)\}", template)
    known = ", ".join("{" + name + "}" for name in TEMPLATE_NAMES)
    for name in names:
        if name not in TEMPLATE_NAMES:
            shown = f"{{{name}}}" if _NAME.fullmatch(name) else "a name in braces"
            raise ValueError(f"does not know {shown}; it may use {known}")
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", template)):
        raise ValueError(f"has a brace without partner; it may use {known}")
    return _not_empty(template)


def _plain_number_as_text(value: object) -> object:
    # `protocol: 5` without quotes is what everybody writes first.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; read from 8MiB, 1GB, 512."""

Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; read from 50ms, 2s, 5m, 0.5."""

Text = Annotated[str, AfterValidator(_not_empty)]
"""Text that must not be empty."""

FileName = Annotated[str, AfterValidator(check_file_name)]
"""Name of a file; empty for none."""

Template = Annotated[str, AfterValidator(_check_template)]
"""Text with placeholders out of TEMPLATE_NAMES."""

NumberAsText = BeforeValidator(_plain_number_as_text)
"""Lets a choice such as "5" be written without quotes."""
