"""A browser for the tests of one module, and a plant that is not there for each test."""

import pytest
from page.browser import browser, watched
from page.fake_api import FakeServer, World


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def world():
    return World()


@pytest.fixture
def fake(world):
    server = FakeServer(world)
    server.start()
    yield server
    world.streaming = False
    server.stop()


@pytest.fixture
def watch(chromium, fake):
    """The page of the plant that is not there."""
    with watched(chromium, fake.url) as page:
        yield page
