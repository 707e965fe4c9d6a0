"""The demo's own system with keys, and a dead letter that a person would find in it."""

from __future__ import annotations

import contextlib
import time

import paho.mqtt.client as mqtt
import yaml
from support.http_side import OPERATOR, READER
from support.services import PATIENCE, wait_until

from consumer.demo.processes import DemoProcess, Interrupt, command_line
from consumer.demo.system import DemoOptions, System, _get_json
from sparkplug.pb import sparkplug_b_pb2 as pb


class KeyedSystem(System):
    """A demo of which the page asks for a key, and whose consumer can be lost."""

    def _write_config(self):
        super()._write_config()
        config = yaml.safe_load(self.config_file.read_text("utf-8"))
        config["http"]["keys"] = [
            {"name": "visitor", "role": "reader", "key": READER},
            {"name": "on-call", "role": "operator", "key": OPERATOR},
        ]
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")

    @property
    def url(self):
        return f"http://127.0.0.1:{self._ports[2]}/"

    def lose_consumer(self):
        self._consumer.stop(PATIENCE, self._interrupt)

    def start_consumer_again(self):
        line = command_line("run", "--config", str(self.config_file))
        self._consumer = DemoProcess("consumer", line, self.logs / "consumer.log")
        wait_until(
            lambda: _get_json(self._ports[2], "/readyz") is not None, what="consumer is back"
        )


@contextlib.contextmanager
def keyed_demo(directory):
    interrupt = Interrupt()
    system = KeyedSystem(DemoOptions(60, 3, 200.0, directory), interrupt, lambda _: None)
    try:
        system.start()
        yield system
    finally:
        system.stop()
        interrupt.restore()


def payload(seq, *metrics):
    message = pb.Payload(timestamp=int(time.time() * 1000))
    if seq is not None:
        message.seq = seq
    for name, alias, datatype, number in metrics:
        metric = message.metrics.add(datatype=datatype, timestamp=message.timestamp)
        if name:
            metric.name = name
        if alias is not None:
            metric.alias = alias
        if datatype == 8:
            metric.long_value = number
        else:
            metric.double_value = number
    return message.SerializeToString()


def publish_what_no_birth_explains(url):
    """A node that sends an alias which its birth does not have, and dies before another birth."""
    host, port = url.removeprefix("mqtt://").rsplit(":", 1)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect(host, int(port))
    client.loop_start()
    session = ("bdSeq", None, 8, 1)
    for kind, body in [
        ("NBIRTH", payload(0, session, ("Level", 1, 10, 1.0))),
        ("NDATA", payload(1, (None, 99, 10, 2.0))),
        ("NDEATH", payload(None, session)),
    ]:
        sent = client.publish(f"spBv1.0/Plant 9/{kind}/Gateway", body)
        sent.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()
