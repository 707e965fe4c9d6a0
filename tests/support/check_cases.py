"""What the tests of `sparkplug-zerobus check` share: a configuration, and what is found in it."""

import pytest

from consumer.check import check_everything
from consumer.check.report import PartError
from consumer.config import parse
from support.services import PATIENCE

SECRET = "s3cr3t-Zq9"
TABLE = "main.ot.tag_events"
PROTOCOLS = ["5", "3.1.1"]


def mapping(tmp_path, url="mqtt://127.0.0.1:1", **zerobus):
    return {
        "servers": [{"name": "plant-a", "url": url}],
        "spool": {"path": str(tmp_path / "spool.db"), "max_bytes": "16MiB"},
        "zerobus": {
            "endpoint": "http://127.0.0.1:1",
            "workspace_url": "http://127.0.0.1:2",
            "table": TABLE,
            "client_id": "local",
            "client_secret": SECRET,
        }
        | zerobus,
    }


def findings(config, part, **options):
    """What is found about one part, as lines; SECRET never shows."""
    options = {"timeout": PATIENCE, "listen": 0.2} | options
    lines = [f.line() for f in check_everything(parse(config), source="c.yaml", **options)]
    assert SECRET not in "".join(lines)
    return [line for line in lines if line[5:].startswith(part)]


def failure(call, *arguments, **options):
    with pytest.raises(PartError) as caught:
        call(*arguments, **options)
    text = f"{caught.value.text} -> {caught.value.mend}"
    assert SECRET not in text
    assert "\n" not in text
    return text
