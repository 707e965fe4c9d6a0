"""Text that others wrote, made fit to be shown: one line, nothing that steers a terminal.

Topics, ids and texts of services come from whoever may publish or answer. What leaves this
program goes through here: the log (`consumer/logs.py`) and the command line
(`consumer/cli/output.py`). The categories are those of the Unicode character database.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final

# Controls; formats, among them those that turn the direction of writing; separators of lines and
# paragraphs; halves of surrogate pairs; for private use; assigned to nothing.
_UNFIT: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Letters and marks by their category, and nothing to be seen: variation selectors, fillers.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(text: str) -> str:
    """The text on one line: what cannot be seen is written as in a Python string literal.

    Letters of every script, marks on them, and emoji stay. What has been escaped stays as it is.
    """
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(_shown(each) for each in text)


def escaped_lines(text: str) -> str:
    """A text that we have laid out, each of its lines `escaped`; its line ends stay."""
    return "\n".join(map(escaped, text.split("\n")))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that is exact, and ASCII that can be seen: a terminal may show it as it is."""
    # The one control character that JSON may hold as it is.
    return json.dumps(value, indent=indent, default=str).replace("\x7f", r"\u007f")


def is_fit(text: str) -> bool:
    """Whether nothing in the text would be escaped."""
    return escaped(text) == text


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _UNFIT and not _INVISIBLE.match(character):
        return character
    code = ord(character)
    if code < 0x100:
        return _SHORT.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
