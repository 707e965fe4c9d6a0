"""How one fleet reads: which metrics give rows, and how long something is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sparkplug.host.nodes.holding import HoldLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug.filters import NodeSight


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """How a fleet reads. What it is bounded by beside what waits is in `FleetLimits`."""

    wanted: Callable[[str], bool] | None = None
    """A test for `group/node[/device]/metric`, whether it gives rows; None: all metrics do."""
    sight: Callable[[str, str], NodeSight] | None = None
    """What is seen of an edge node, by group id and edge node id, from its first message on.

    None: all of every one. Of a node that is not seen whole seq is not judged.
    """
    emit_births: bool = True
    """Whether the values in births give rows."""
    emit_stale: bool = True
    """Whether deaths give rows of quality STALE."""
    stale_when_lost: bool = False
    """Whether the loss of the connection gives them, too."""
    emit_transient: bool = False
    """Whether transient metrics give rows."""
    describe_tags: bool = False
    """Whether what births say of their tags beside the values is told (`Decoded.metadata`)."""
    hold_limits: HoldLimits = field(default_factory=HoldLimits)
    """Bounds of what waits for its birth."""
    reorder_timeout: float = 0.0
    """Seconds that messages behind a hole in seq wait for the missing one.

    (tck-id operational-behavior-host-reordering-param)
    """
    unheard: float = 0.0
    """Seconds after an absence until nodes that were alive before it, and are not heard, are asked
    for a rebirth; 0: never.
    """
    silent_after: float = 0.0
    """For how many times its longest pause a node may say nothing until it is silent; 0: for ever.
    """
    passive: bool = False
    """Whether nobody is asked for births. Who is not heard after an absence is silent then."""
