"""A person asks an edge node for its births, through the running consumer."""

import contextlib

import pytest
from support.mqtt_listener import listening
from support.services import mosquitto, wait_until

from consumer.config import parse
from consumer.pipeline import make_consumer
from sparkplug.pb import sparkplug_b_pb2 as pb


@contextlib.contextmanager
def consumer(tmp_path, url="mqtt://127.0.0.1:9", **host):
    configuration = parse(
        {
            "servers": [{"name": "plant", "url": url}],
            "host": {"id": "historian", **host},
            "zerobus": {
                "endpoint": "http://127.0.0.1:9",
                "workspace_url": "http://127.0.0.1:10",
                "table": "main.ot.tag_events",
                "client_id": "id",
                "client_secret": "secret",
            },
            "spool": {"path": str(tmp_path / "spool.db")},
            "shutdown_timeout": "0s",
        }
    )
    consumer = make_consumer(configuration)
    try:
        yield consumer
    finally:
        consumer.stop()


def test_the_node_is_asked_in_the_form_of_the_specification(tmp_path):
    with mosquitto(tmp_path) as server, listening(server) as client:
        with consumer(tmp_path, server.url) as running:
            running.start()
            running.ask_rebirth("plant", "Plant", "Edge 1")
            client.wait_for("NCMD")
            # The server may have it before it is counted.
            wait_until(lambda: running.telemetry.totals["rebirths_requested"], what="a count")
            assert running.telemetry.totals["rebirths_requested"] == 1
        [command] = [each for each in client.arrivals if "/NCMD/" in each.topic]
        assert command.topic == "spBv1.0/Plant/NCMD/Edge 1"
        [metric] = pb.Payload.FromString(command.payload).metrics
        assert (metric.name, metric.boolean_value) == ("Node Control/Rebirth", True)


def test_a_node_that_is_left_alone_is_asked_all_the_same(tmp_path):
    with mosquitto(tmp_path) as server, listening(server) as client:
        with consumer(tmp_path, server.url) as running:
            running.sources[0].governor.suspend("Plant", "Edge")
            running.start()
            running.ask_rebirth("plant", "Plant", "Edge")
            client.wait_for("NCMD")
        assert client.count("NCMD") == 1


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("other", "Plant", "Edge"), "there is no server 'other', only plant"),
        (("plant", "", "Edge"), "group id '' must not be empty"),
        (("plant", "Plant", "Edge/1"), "edge node id 'Edge/1' must not"),
        (("plant", "+", "Edge"), "group id '\\+' must not"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, names, problem):
    with consumer(tmp_path) as running, pytest.raises(ValueError, match=problem):
        running.ask_rebirth(*names)


def test_a_passive_host_asks_nobody(tmp_path):
    with consumer(tmp_path, mode="passive") as running, pytest.raises(ValueError, match="passive"):
        running.ask_rebirth("plant", "Plant", "Edge")
    assert running.sources[0].governor.pending == 0
