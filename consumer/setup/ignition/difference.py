"""Files of an Event Stream as lines for people, without what others keep secret in them.

A difference is pasted into chats and tickets. So only what is made here is shown word for word: a
script of others, a handler of others, a key that is not known, and a line that somebody changed
in our script may all hold a password.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Final

from consumer.setup.ignition.handler import MARK, masked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HIDDEN: Final = "(not made here, and not shown)"
"""In place of what others made."""


def difference(
    name: str, before: bytes | None, after: bytes | None, known: Collection[str], own: set[str]
) -> Iterator[str]:
    """The lines of a difference between two contents of one file.

    Args:
        name: of the file.
        before: content as it is; None where there is no file.
        after: content as it would be; None where the file goes away.
        known: keys of its object that are made here; the values of others are not shown.
        own: scripts that are made here, beside that of the handler.
    """
    return difflib.unified_diff(
        _lines(before, known, own),
        _lines(after, known, own),
        "/dev/null" if before is None else f"{name} as it is",
        "/dev/null" if after is None else f"{name} as it would be",
        lineterm="",
    )


def _lines(content: bytes | None, known: Collection[str], own: set[str]) -> list[str]:
    if content is None:
        return []
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return [HIDDEN]
    if not isinstance(found, dict):
        return [HIDDEN]
    told = {key: _told(key, value, own) if key in known else HIDDEN for key, value in found.items()}
    return json.dumps(told, indent=2, ensure_ascii=False).splitlines()


def _told(key: str, value: Any, own: set[str]) -> Any:
    if key == "userCode":
        return _code(value, own)
    if key == "handlers" and isinstance(value, list):
        return [_told("", each, own) if _is_ours(each) else _of_others(each) for each in value]
    if isinstance(value, dict):
        return {name: _told(name, each, own) for name, each in value.items()}
    return [_told("", each, own) for each in value] if isinstance(value, list) else value


def _code(code: Any, own: set[str]) -> Any:
    if not isinstance(code, str) or code in own:
        return code
    if MARK in code:
        return masked(code).split("\n")
    return [f"({len(code.splitlines())} lines of others)"]


def _is_ours(handler: Any) -> bool:
    config = handler.get("config") if isinstance(handler, dict) else None
    code = config.get("userCode") if isinstance(config, dict) else None
    return isinstance(code, str) and MARK in code


def _of_others(handler: Any) -> Any:
    """A handler of others: what it is, and the length of its script."""
    if not isinstance(handler, dict):
        return HIDDEN
    config = handler.get("config")
    told = {key: handler[key] for key in ("enabled", "type") if key in handler}
    if isinstance(config, dict) and isinstance(config.get("userCode"), str):
        return told | {"config": {"userCode": _code(config["userCode"], set())}}
    return told | {"config": HIDDEN}
