"""Whether a transmitter keeps data while its primary host is away, as the gateway's log says.

A transmitter decides once, when it is saved, how it will flush its history: by whether its
history store was enabled at that moment. Nothing in its configuration shows what it decided. The
one witness is a line that it writes each time it finds its primary host online, with
`historyFlushType=ASYNC`, `IN_ORDER` or `NONE`; with NONE it drops all it has while the host is
away (published measurements with 8.3.7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.setup.ignition.gateway import Gateway

_WITNESS: Final = re.compile(r"historyFlushType=([A-Z_]{1,20})")
_PREFIX: Final = "com.cirruslink"
_LINES: Final = 2000
KEEPS: Final = frozenset({"ASYNC", "IN_ORDER"})


@dataclass(frozen=True, slots=True)
class Flush:
    """What the newest such line says.

    Attributes:
        type: ASYNC, IN_ORDER or NONE; another word is one that is not known here.
        time: of the line, in ms since 1970 UTC; 0 if the log does not tell.
    """

    type: str
    time: int

    @property
    def keeps(self) -> bool:
        """Whether data is kept."""
        return self.type in KEEPS


def newest_flush(lines: Iterable[dict[str, Any]]) -> Flush | None:
    """The newest witness among lines of a log, whatever their order; None if there is none."""
    found = []
    for line in lines:
        match = _WITNESS.search(str(line.get("message", "")))
        if match is not None:
            when = line.get("timestamp")
            found.append(Flush(match[1], when if isinstance(when, int) else 0))
    return max(found, key=lambda each: each.time, default=None)


def read_flush(gateway: Gateway) -> Flush | None:
    """Ask a gateway's log; None if the newest lines of it hold no witness.

    First by the prefix that the module's loggers are said to have, then whatever they are called.

    Raises:
        GatewayError: the log cannot be read.
    """
    return newest_flush(gateway.log(_PREFIX, _LINES)) or newest_flush(gateway.log("", _LINES))


def save_again(flush: Flush | None, store: int | None, transmitter: int | None) -> str:
    """Why a transmitter must be saved again to keep data; empty if nothing says that it must.

    Args:
        flush: the newest witness.
        store: when its history store was written, in ms since 1970 UTC; None if not known.
        transmitter: when it was written itself.
    """
    if store is not None and transmitter is not None and store > transmitter:
        return "its history store was changed after it"
    if flush is None or flush.keeps or (transmitter is not None and flush.time < transmitter):
        return ""
    return f"the log says historyFlushType={flush.type}"
