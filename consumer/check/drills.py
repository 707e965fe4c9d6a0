"""Checks with `host.gate_on_sink` whether it is known that edge nodes keep their data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from consumer.check.report import Finding, PartError, Status
from consumer.errors import SpoolError
from consumer.spool import GOOD_DAYS, unproven_nodes_of_file

if TYPE_CHECKING:
    from consumer.config import Configuration

PART: Final = "drill"
_MOST_NAMED: Final = 10
_MEND: Final = "sparkplug-zerobus drill, while the consumer runs, shows which do"


def check_drills(config: Configuration) -> list[Finding]:
    """Look in the spool's file which edge nodes no drill has shown to keep their data.

    Raises:
        PartError: the file is there, and cannot be read.
    """
    path = config.spool.path
    if not path.exists():
        text = "host.gate_on_sink is on, and no edge node is known yet"
        return [Finding(Status.NOTE, PART, text, _MEND)]
    names = [server.name for server in config.servers]
    try:
        found = unproven_nodes_of_file(path, names, time.time_ns() // 1_000_000)
    except SpoolError as error:
        raise PartError(str(error), "see what is wrong with the spool") from None
    if not found.nodes:
        text = f"{found.known} edge nodes are known, and all keep data while the gate is closed"
        return [Finding(Status.OK, PART, text)]
    shown = ", ".join(f"{group}/{node}" for _, group, node in found.nodes[:_MOST_NAMED])
    more = len(found.nodes) - _MOST_NAMED
    others = f" and {more} others" if more > 0 else ""
    text = (
        f"host.gate_on_sink is on, and of {found.known} edge nodes {len(found.nodes)} may lose "
        f"data while the gate is closed, for no drill of the last {GOOD_DAYS} days shows that they "
        f"keep it: {shown}{others}"
    )
    return [Finding(Status.WARN, PART, text, _MEND)]
