"""Simulated Ignition gateways that publish Sparkplug B to a real MQTT server.

`Gateways` runs them; its `Published` knows the event_ids of everything they published, so
that what landed at the other end can be checked to the last row.
"""

from consumer.simulator.connection import MqttTarget
from consumer.simulator.fleet import EdgeNodeOptions, Gateways
from consumer.simulator.ledger import Published
from consumer.simulator.tags import CONVEYOR_INSTANCES

__all__ = ["CONVEYOR_INSTANCES", "EdgeNodeOptions", "Gateways", "MqttTarget", "Published"]
