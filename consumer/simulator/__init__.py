"""Simulated Ignition gateways that publish Sparkplug B to a real MQTT server.

`Fleet` runs them; its `Ledger` knows the event_ids of everything they published, so
that what landed at the other end can be checked to the last row.
"""

from consumer.simulator.fleet import Fleet

__all__ = ["Fleet"]
