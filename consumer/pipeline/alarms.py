"""What the consumer does about alarms of edge nodes: it says so, and leaves some alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sparkplug import ALARM_OVER, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from sparkplug import Event, RebirthGovernor

_LOG = logging.getLogger(__name__)

_WHAT_TO_DO: Final = {
    EventKind.DUPLICATE_NODE: (
        "give one of them another group or edge node id; "
        "no rebirth requests are sent to it until ten minutes after the last sign of them"
    ),
    EventKind.CLOCK: "set its clock right, or mend its timestamps; values keep the times they have",
}


def heed(
    events: Iterable[Event], governor: RebirthGovernor, duplicates: AbstractSet[tuple[str, str]]
) -> None:
    """Log alarms that began or ended, and do not ask nodes for births that two publish.

    Births of one publisher make the other one's data unreadable: asking only feeds that.
    """
    for event in events:
        advice = _WHAT_TO_DO.get(event.kind)
        if advice is None or event.group_id is None or event.edge_node_id is None:
            continue
        key = (event.group_id, event.edge_node_id)
        if event.kind is EventKind.DUPLICATE_NODE:
            (governor.suspend if key in duplicates else governor.resume)(*key)
        extra = {"group_id": key[0], "edge_node_id": key[1], "reason": event.reason}
        if (event.reason or "").endswith(ALARM_OVER):
            _LOG.info("%s/%s: %s", *key, event.detail, extra=extra)
        else:
            _LOG.warning("%s/%s: %s; %s", *key, event.detail, advice, extra=extra)
