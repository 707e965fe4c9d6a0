"""How names and texts are written in Spark SQL."""

from __future__ import annotations

import re
from typing import Final

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def quoted(name: str) -> str:
    """A name with dots, backticks around the parts that need them."""
    return ".".join(
        part if _PLAIN_NAME.fullmatch(part) else f"`{part}`" for part in name.split(".")
    )


def text_literal(text: str) -> str:
    """A string literal; Spark SQL escapes with a backslash, '' would join two literals."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
