"""`normalize.columns`: the columns of a table that exists, by the names of ours."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from consumer.pb.tag_event_pb2 import TagEvent

_OURS: Final = tuple(field.name for field in TagEvent.DESCRIPTOR.fields)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)


def read_columns(value: Any) -> Any:
    """A list of `ours`, `ours: theirs`, or a mapping of them, as texts; all else as it is."""
    if isinstance(value, dict):
        value = [{ours: theirs} for ours, theirs in value.items()]
    if not isinstance(value, list):
        return value
    return [_text(each) for each in value]


def _text(item: Any) -> Any:
    if isinstance(item, dict):
        if len(item) != 1:
            raise ValueError("has an item with several keys; write '- ' before each column")
        (ours, theirs), *_ = item.items()
        return f"{ours}: {theirs}"
    return item


def pairs(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Our name and the table's of each column."""
    found = []
    for text in texts:
        ours, colon, theirs = (part.strip() for part in text.partition(":"))
        found.append((ours, theirs if colon else ours))
    return found


def problem_with(texts: tuple[str, ...]) -> str | None:
    """What is wrong with a list of columns, and how to mend it; None if nothing is."""
    seen: set[str] = set()
    taken: dict[str, str] = {}
    for ours, theirs in pairs(texts):
        shown = ours if _NAME.fullmatch(ours) else "a column"
        if ours not in _OURS:
            near = difflib.get_close_matches(ours, _OURS, 1)
            hint = f"did you mean {near[0]}" if near else f"they are {', '.join(_OURS)}"
            return f"names {shown}, which is no column of tag_events; {hint}"
        if ours in seen:
            return f"has {ours} twice; remove one"
        seen.add(ours)
        if not _NAME.fullmatch(theirs):
            return (
                f"gives {ours} a name that Zerobus cannot have; use letters, digits and _ "
                "only, a digit not first, 255 characters at most"
            )
        other = taken.setdefault(theirs.lower(), ours)
        if other != ours:
            return (
                f"gives {other} and {ours} the same name {theirs} (capitals do not count); "
                "rename one"
            )
    if "event_id" not in seen:
        return "lacks event_id: duplicates could not be told; add it, under any name"
    return None
