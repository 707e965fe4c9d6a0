"""What all sections of the configuration share: base class, types, small checks."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from consumer.config.units import parse_duration, parse_size

WITHOUT_SECRETS: Final = {"without_secrets": True}
"""Validation context of a reader that needs no secrets, and may not be able to see them."""

TEMPLATE_NAMES: Final = ("site", "server", "group_id", "edge_node_id", "device_id", "metric")


class Section(BaseModel):
    """A section: immutable, no key that is not declared, no value in pydantic's own errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ConflictError(ValueError):
    """A problem found by comparing keys; `key` is relative to the section that compares."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def wants_secrets(context: object) -> bool:
    """Whether required secrets must be there in this validation context."""
    return context != WITHOUT_SECRETS


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _check_template(template: str) -> str:
    names = re.findall(r"\{([^{}]*)\}", template)
    known = ", ".join("{" + name + "}" for name in TEMPLATE_NAMES)
    for name in names:
        if name not in TEMPLATE_NAMES:
            raise ValueError(f"does not know {{{name}}}; it may use {known}")
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

Template = Annotated[str, AfterValidator(_check_template)]
"""Text with placeholders out of TEMPLATE_NAMES."""

NumberAsText = BeforeValidator(_plain_number_as_text)
"""Lets a choice such as "5" be written without quotes."""
