"""Which keys of properties stay when a capture is redacted, and which texts under them do."""

from __future__ import annotations

import re
from typing import Final

KEPT_KEYS: Final = frozenset(
    {
        *("Quality", "engUnit", "engLow", "engHigh", "documentation", "tooltip", "readOnly"),
        *("tagGroup", "accessRights", "historyEnabled", "alarms"),
    }
)
"""Keys that the specification and Ignition give."""

_NUMERIC: Final = frozenset({"engLow", "engHigh"})
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,3})?", re.ASCII)


def kept_text(key: str, text: str) -> bool:
    """Whether a text is what its key has a meaning for: a number, true or false."""
    if key in _NUMERIC:
        return _NUMBER.fullmatch(text) is not None
    return key == "readOnly" and text in {"true", "false"}
