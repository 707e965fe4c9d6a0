"""Fixtures of the conformance tests, and the notes that docs/conformance.md is made from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.assertions import PROPERTY
from conformance.edge import edge_node
from conformance.host_life import live
from conformance.plant import FAR_EAST, plant


def pytest_configure(config):
    config.addinivalue_line("markers", "tck(id, check): checks an assertion of the specification")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("tck"):
            tck_id, check = mark.args
            item.user_properties.append((PROPERTY, check.note(tck_id)))


@pytest.fixture
def tck_id(request):
    """The assertion that this case checks."""
    return request.param


@pytest.fixture(scope="session")
def lives(request, tmp_path_factory):
    """The life of a host over MQTT 5 and one over 3.1.1, as they were written down."""
    if getattr(request.config.option, "loadgroup", False):
        # Fails where another worker has lived them, too: then the grouping has no effect.
        (tmp_path_factory.getbasetemp().parent / "lives").touch(exist_ok=False)
    protocols = "5", "3.1.1"
    directories = [tmp_path_factory.mktemp(f"life-{each}") for each in protocols]
    with ThreadPoolExecutor(len(protocols)) as pool:
        return list(pool.map(live, directories, protocols))


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """A host that runs while edge nodes come and go; it reads every topic there is."""
    with plant(
        tmp_path_factory.mktemp("running"),
        environ=FAR_EAST,
        servers={"topics": ["#"]},
        host={"reorder_timeout": "200ms"},
    ) as system:
        system.consumer.start_ready()
        yield system
        [server] = system.consumer.status()["servers"]
        assert (server["connected"], server["connections"]) == (True, 1)
        assert system.consumer.stop() == 0
        assert "Traceback" not in system.consumer.log()


@pytest.fixture
def edge(running):
    """A connected edge node of a group of its own."""
    with edge_node(running.server.port) as node:
        yield node
