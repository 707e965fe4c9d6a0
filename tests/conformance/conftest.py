"""Fixtures of the conformance tests, and the notes that docs/conformance.md is made from."""

from __future__ import annotations

import pytest

from conformance.assertions import PROPERTY
from conformance.host_life import live


def pytest_configure(config):
    config.addinivalue_line("markers", "tck(id, check): checks an assertion of the specification")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("tck"):
            tck_id, check = mark.args
            note = {"id": tck_id, "kind": check.kind, "seen": check.seen, "text": check.text}
            item.user_properties.append((PROPERTY, note))


@pytest.fixture
def tck_id(request):
    """The assertion that this case checks."""
    return request.param


@pytest.fixture(scope="session")
def lives(tmp_path_factory):
    """The life of a host over MQTT 5 and one over 3.1.1, as they were written down."""
    return [live(tmp_path_factory.mktemp(f"life-{each}"), each) for each in ("5", "3.1.1")]
