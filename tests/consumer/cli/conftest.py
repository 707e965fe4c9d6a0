"""For commands that talk to an MQTT server."""

import pytest
from support.mqtt_listener import listening
from support.services import mosquitto


@pytest.fixture
def server(tmp_path):
    """A Mosquitto."""
    with mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
def client(server):
    """Hears everything that comes over it, and publishes."""
    with listening(server) as listener:
        yield listener
