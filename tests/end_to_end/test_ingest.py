"""The events of docs/event-streams.md, posted with curl, beside MQTT rows of the same tag."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from support.services import PATIENCE

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

PAGE = Path(__file__).parents[2] / "docs" / "event-streams.md"
PATH = "Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}"
KEY = "the-key-of-the-gateway"

# The second test looks at what the first has posted.
pytestmark = pytest.mark.xdist_group("posts of the page")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ingest")
    with world(
        directory,
        http={"token": KEY, "source_system_id": "gateway-7"},
        normalize={"tag_path": f"[default]{PATH}"},
    ) as system:
        system.consumer.start_ready()
        yield system
        assert system.consumer.stop() == 0


def curl(system, page):
    """Run the first command of the page against the consumer; return what it prints."""
    command = re.search(r"```sh\n(curl.*?)```", page, re.DOTALL)[1]
    command = command.replace("http://127.0.0.1:8099", system.consumer.base_url)
    command = command.replace("--json ", "--header 'Content-Type: application/json' --data ")
    done = subprocess.run(
        ["sh", "-c", command],
        env={"KEY": KEY, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


def test_what_the_page_posts_lands_beside_rows_of_mqtt_of_the_same_tag(system):
    page = PAGE.read_text("utf-8")
    node = Gateway(system.publish, "Plant", "Edge-1")
    node.born(metric("Speed", value=20.0))
    assert curl(system, page) == re.search(r'```json\n(\{"accepted.*?\})\n```', page)[1]
    rows = system.table.wait_for(2, tag_path="[default]Edge Nodes/Plant/Edge-1/Speed")
    mqtt, http = sorted(rows, key=lambda row: row["numeric_value"])
    assert (mqtt["message_type"], http["message_type"]) == ("NBIRTH", "HTTP")
    assert (mqtt["numeric_value"], http["numeric_value"]) == (20.0, 21.5)
    same = ("tag_path", "tag_provider", "metric_name", "data_type", "quality", "quality_code")
    assert [mqtt[each] for each in same] == [http[each] for each in same]
    assert (mqtt["source_system_id"], http["source_system_id"]) == ("Plant/Edge-1", "gateway-7")
    assert http["event_time"].isoformat() == "2026-11-23T14:13:34.123000+00:00"
    (running,) = system.table.wait_for(1, metric_name="Running")
    assert (running["boolean_value"], running["numeric_value"]) == (True, None)


def test_what_is_posted_again_lands_again_under_the_same_ids(system):
    page = PAGE.read_text("utf-8")
    before = {row["event_id"] for row in system.table.wait_for(2, message_type="HTTP")}
    curl(system, page)
    after = system.table.wait_for(4, message_type="HTTP")
    assert {row["event_id"] for row in after} == before
    key = {"Authorization": f"Bearer {KEY}"}
    status = httpx.get(f"{system.consumer.base_url}/status", headers=key, timeout=PATIENCE)
    assert status.json()["ledger"]["difference"] == 0
