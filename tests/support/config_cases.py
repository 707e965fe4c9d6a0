"""A small configuration, changed key by key, and what becomes of it."""

import copy
from pathlib import Path

import pytest

from consumer.config import parse
from consumer.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cr3t-Zq9"

MINIMAL = {
    "servers": [{"name": "plant-a", "url": "mqtt://localhost"}],
    "zerobus": {
        "endpoint": "http://127.0.0.1:9001",
        "workspace_url": "http://127.0.0.1:9002",
        "table": "main.ot.tag_events",
        "client_id": "local",
        "client_secret": SECRET,
    },
}
HTTP_KEY = {"name": "k", "role": "reader", "key": "a-key-of-http-0123"}


def changed(*changes):
    """MINIMAL with (dotted key, value) pairs set; `servers.0.url` reaches into the list."""
    mapping = copy.deepcopy(MINIMAL)
    if any(key.startswith("http.keys.0.") for key, _ in changes):
        mapping["http"] = {"keys": [dict(HTTP_KEY)]}
    for key, value in changes:
        *parents, last = key.split(".")
        section = mapping
        for part in parents:
            section = section[int(part)] if part.isdigit() else section.setdefault(part, {})
        section[last] = value
    return mapping


def refusal(*changes, environ=None):
    with pytest.raises(ConfigurationError) as caught:
        parse(changed(*changes), source="c.yaml", environ=environ or {})
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


def warnings(*changes):
    return parse(changed(*changes)).warnings


def write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path
