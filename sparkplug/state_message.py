"""The content of STATE messages."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from sparkplug.topics import StateTopic, check_id

_MAX_PAYLOAD: Final = 4096
_MAX_TIMESTAMP: Final = 2**63


class State(NamedTuple):
    """Content of a STATE message; the timestamp in milliseconds since 1970 UTC."""

    online: bool
    timestamp_ms: int


def encode(state: State) -> bytes:
    """The JSON of a STATE message: exactly two keys (payloads-state-birth-payload)."""
    return json.dumps(
        {"online": state.online, "timestamp": state.timestamp_ms}, separators=(",", ":")
    ).encode()


def parse(payload: bytes) -> State | None:
    """Read a STATE message; None if it is none.

    Lenient, since other hosts' messages come along: further keys and a fractional
    timestamp are accepted. The legacy texts ONLINE and OFFLINE belong to another
    topic and are not.
    """
    if len(payload) > _MAX_PAYLOAD:
        return None
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    match content:
        case {"online": bool(online), "timestamp": int(timestamp) | float(timestamp)}:
            # The comparison is false for NaN and infinities, too.
            if not isinstance(timestamp, bool) and 0 <= timestamp < _MAX_TIMESTAMP:
                return State(online, int(timestamp))
    return None


def state_topic(host_id: str) -> str:
    """Topic of a host application's STATE.

    Raises:
        ValueError: the id may not be used in a topic.
    """
    return str(StateTopic(check_id(host_id, "host id")))
