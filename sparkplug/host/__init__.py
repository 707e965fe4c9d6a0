"""The fleet behind one MQTT server, as a host application sees it.

`Fleet` reads everything that comes; `RebirthGovernor` decides who is asked for births, and
when; `HostState` is the host's own life. Chambers: `reading` (what a message means), `nodes`
(sequences, aliases, what waits), `templates` (values that are several), `watch` (deaths,
doubles, clocks, gaps). Others take these names from `sparkplug`.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from sparkplug.host.catalogue import TagCatalogue, TagOwner
    from sparkplug.host.commands import COMMAND_QOS, rebirth_command
    from sparkplug.host.complaints import Unmended
    from sparkplug.host.fleet import Fleet
    from sparkplug.host.fleet_options import FleetOptions
    from sparkplug.host.governor import RebirthGovernor, reason_in_words
    from sparkplug.host.host_state import HostState, OwnTimestamps
    from sparkplug.host.nodes.holding import HoldLimits
    from sparkplug.host.nodes.waiting import HeldMessage, NodeKey
    from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX
    from sparkplug.host.screening import FleetLimits, TagRoom
    from sparkplug.host.views import DeviceView, NodeView
    from sparkplug.host.watch.alarms import ALARM_OVER
    from sparkplug.host.watch.kept_history import KeptHistory, NodeAfter, NodeBefore, Verdict
    from sparkplug.host.watch.silence import SilentNode
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "catalogue": ["TagCatalogue", "TagOwner"],
            "commands": ["COMMAND_QOS", "rebirth_command"],
            "complaints": ["Unmended"],
            "fleet": ["Fleet"],
            "fleet_options": ["FleetOptions"],
            "governor": ["RebirthGovernor", "reason_in_words"],
            "host_state": ["HostState", "OwnTimestamps"],
            "nodes.holding": ["HoldLimits"],
            "nodes.waiting": ["HeldMessage", "NodeKey"],
            "reading.certificates": ["CERTIFICATE_PREFIX"],
            "screening": ["FleetLimits", "TagRoom"],
            "views": ["DeviceView", "NodeView"],
            "watch.alarms": ["ALARM_OVER"],
            "watch.kept_history": ["KeptHistory", "NodeAfter", "NodeBefore", "Verdict"],
            "watch.silence": ["SilentNode"],
        },
    )

__all__ = [
    "ALARM_OVER",
    "CERTIFICATE_PREFIX",
    "COMMAND_QOS",
    "DeviceView",
    "Fleet",
    "FleetLimits",
    "FleetOptions",
    "HeldMessage",
    "HoldLimits",
    "HostState",
    "KeptHistory",
    "NodeAfter",
    "NodeBefore",
    "NodeKey",
    "NodeView",
    "OwnTimestamps",
    "RebirthGovernor",
    "SilentNode",
    "TagCatalogue",
    "TagOwner",
    "TagRoom",
    "Unmended",
    "Verdict",
    "reason_in_words",
    "rebirth_command",
]
