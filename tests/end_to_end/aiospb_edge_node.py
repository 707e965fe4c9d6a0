"""An edge node of aiospb, which obeys a primary host; run with the interpreter of its environment.

Arguments: port of the MQTT server, group id, edge node id, and `keeps` or `drops`. What it does
about STATE is aiospb's own: it subscribes to it, publishes nothing while the host is offline but
gives what its driver scans to a historical store, and when the host is online again it publishes
its birth, and what is in the store as historical data. It stays connected all the while, sends no
NDEATH, and goes on counting seq and bdSeq where it was.

`keeps`: with the store that aiospb has by default. `drops`: with one that keeps nothing. aiospb of
this release brings an encoder to JSON only; payloads are encoded here with tahutils.
"""

import asyncio
import json
import sys

from aiospb import RealClock
from aiospb.data import DataType, Metric
from aiospb.mqtt import MessageEncoder
from aiospb.mqtt.paho import PahoMqttClient
from aiospb.nodes import DeviceDriver, EdgeNode, HistoricalStore, OnmemHistoricalStore
from tahutils.tahu import sparkplug_b, sparkplug_b_pb2

SCAN_MS = 200


class Protobuf(MessageEncoder):
    """Encodes what aiospb gives as a Sparkplug B payload; what comes back is STATE, in JSON."""

    def encode(self, payload):
        message = sparkplug_b_pb2.Payload(timestamp=payload["timestamp"])
        if "seq" in payload:
            message.seq = payload["seq"]
        for each in payload["metrics"]:
            data_type = DataType[each["dataType"]].value
            metric = sparkplug_b.addMetric(
                message, each.get("name"), None, data_type, each["value"], each["timestamp"]
            )
            if each.get("is_historical"):
                metric.is_historical = True
        return message.SerializeToString()

    def decode(self, payload):
        return json.loads(payload)


class Forgetful(HistoricalStore):
    """Keeps nothing."""

    async def save(self, changes):
        del changes

    async def load(self):
        return []

    async def has_data(self):
        return False

    async def clear(self):
        pass


class Level(DeviceDriver):
    """One metric, which changes with every scan."""

    def __init__(self, clock):
        self._clock = clock
        self._value = 0.0

    async def load_metrics(self):
        self._value += 1.0
        return [Metric("Level", self._clock.now(), self._value, DataType.Double)]

    async def scan_metrics(self, aliases=None):
        del aliases
        return await self.load_metrics()

    async def write_metric(self, request):
        raise AssertionError(f"no command is sent to this node: {request}")


class Patient(RealClock):
    """Lets aiospb, which asks without pause whether there is something to send, rest a little."""

    async def asleep(self, seconds):
        await asyncio.sleep(max(seconds, 0.01))


async def run(port, group, node, store):
    clock = Patient()
    server = {"hostname": "127.0.0.1", "port": port, "username": None, "password": None}
    edge_node = EdgeNode(
        node,
        group,
        PahoMqttClient(server, Protobuf()),
        Level(clock),
        historical_store=Forgetful() if store == "drops" else OnmemHistoricalStore(),
        primary_hostname="historian",
        scan_rate=SCAN_MS,
        clock=clock,
    )
    await edge_node.establish_session()
    await asyncio.Event().wait()


asyncio.run(run(*sys.argv[1:]))
