"""A fleet by whatever of its options a test is about."""

from __future__ import annotations

from sparkplug.host.fleet import Fleet
from sparkplug.host.fleet_options import FleetOptions


def fleet_with(limits=None, *, room=None, **options):
    """A fleet without nodes; `options` are those of `FleetOptions`."""
    return Fleet(limits, FleetOptions(**options), room=room)
