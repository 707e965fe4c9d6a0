"""Simulated Ignition gateways that publish Sparkplug B to a real MQTT server.

`Gateways` runs them; its `Published` knows the event_ids of everything they published, so
that what landed at the other end can be checked to the last row.
"""

from consumer.simulator.fleet import Gateways

__all__ = ["Gateways"]
