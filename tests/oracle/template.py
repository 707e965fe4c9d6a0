"""Templates of tag_path and source_system_id: a level without value goes with its slash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
NAMES = {"site", "server", "group_id", "edge_node_id", "device_id", "metric"}


def split_provider(template: str) -> tuple[str | None, str]:
    """The part between the leading brackets, and what follows them."""
    match = re.match(r"\[([^\]]*)\]", template)
    if match is None:
        return None, template
    return match.group(1), template[match.end() :]


def fill(text: str, values: Mapping[str, str | None]) -> str:
    return PLACEHOLDER.sub(lambda match: values[match.group(1)] or "", text)


def expand(template: str, values: Mapping[str, str | None]) -> tuple[str, str | None]:
    """The expanded template, and its expanded provider (None without brackets)."""
    unknown = set(PLACEHOLDER.findall(template)) - NAMES
    if unknown:
        raise ValueError(f"unknown placeholder {sorted(unknown)} in {template!r}")
    provider, rest = split_provider(template)
    levels = []
    for level in rest.split("/"):
        names = PLACEHOLDER.findall(level)
        if names and not any(values[name] for name in names):
            continue
        levels.append(fill(level, values))
    path = "/".join(levels)
    if provider is None:
        return path, None
    provider = fill(provider, values)
    return f"[{provider}]{path}", provider
