"""An Event Stream that the command writes, run in Jython, to the Delta table.

Beside the handler of the module that sites move from, as docs/moving-from-the-module.md says.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from support.jython_gateway import run as run_handler
from support.lasting import long
from support.program import run

from end_to_end.world import world

MOVING = Path(__file__).parents[2] / "docs" / "moving-from-the-module.md"
KEY = "the-key-of-gateway-7"
FOLDER = "com.inductiveautomation.eventstream/event-streams/zerobus_events"
MODULE = {
    "enabled": True,
    "type": "ignition.script",
    "config": {"userCode": "\tsystem.net.httpPost(url='http://gw/system/zerobus/ingest/batch')\n"},
}
EVENTS = """
def event(name, value, each):
    return Event(value, tagPath="[default]Line 1/" + name, quality="Good", qualityCode=192,
                 timestamp=1795443214123 + each)

calls = [
    [event("Speed", each + 0.5, each), event("Running", each % 2 == 0, each),
     event(u"Z\\u00e4hler", each, each)]
    for each in range(20)
]
"""


@pytest.fixture
def project(tmp_path):
    """A project with the Event Stream of a site that uses the module."""
    project = tmp_path / "data" / "projects" / "Plant"
    stream = project / FOLDER
    stream.mkdir(parents=True)
    (project / "project.json").write_text("{}")
    there = {
        "enabled": True,
        "source": {"type": "ignition.tagEvent", "config": {"paths": ["[default]Line 1/**"]}},
        "sourceEncoder": {"type": "ignition.string", "properties": {"encoding": "UTF-8"}},
        "handlers": [MODULE],
    }
    (stream / "config.json").write_text(json.dumps(there))
    (stream / "resource.json").write_text('{"scope": "G", "version": 1, "files": ["config.json"]}')
    return project


def command(project, system, key_file):
    """The command of the page, with places of this machine."""
    text = MOVING.read_text("utf-8")
    words = re.search(
        r"sparkplug-zerobus (ignition event-stream zerobus_events.*?)```", text, re.DOTALL
    )
    changed = {
        "/usr/local/bin/ignition/data": str(project.parents[1]),
        "http://consumer:8099": system.consumer.base_url,
        "/etc/ignition/ingest.key": str(key_file),
        "--dry-run": "--yes",
        "\\": "",
    }
    return [changed.get(each, each) for each in words[1].split() if each != "\\"]


@pytest.mark.parametrize("interpreter", [*long(shutil.which("jython")), sys.executable])
def test_both_handlers_get_each_event_and_ours_lands_it(
    tmp_path, project, interpreter, monkeypatch
):
    if interpreter is None:
        pytest.skip("no jython: scripts/ensure-jython.sh")
    key_file = tmp_path / "ingest.key"
    key_file.write_text(f"{KEY}\n")
    monkeypatch.chdir(tmp_path)
    Path("tags.txt").write_text("[default]Line 1/**\n")
    keys = [{"name": "gateway-7", "role": "ingest", "key": KEY, "source_system_id": "gateway-7"}]
    with world(tmp_path / "system", http={"keys": keys}) as system:
        system.consumer.start_ready()
        before = (project / FOLDER / "config.json").read_bytes()
        done = run(*command(project, system, key_file), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "handlers that others made stay (1)" in done.stderr
        made = json.loads((project / FOLDER / "config.json").read_bytes())
        theirs, ours = made["handlers"]
        assert theirs == MODULE
        for _ in range(2):  # as if the first answers had not come
            told = run_handler(interpreter, ours["config"]["userCode"], EVENTS)
            assert told["clients"] == 1
            assert all(each == {"raised": "", "log": [], "posted": [3]} for each in told["calls"])
        rows = system.table.wait_for(120, source_system_id="gateway-7")
        assert len({row["event_id"] for row in rows}) == 60
        assert {row["tag_path"] for row in rows} == {
            f"[default]Line 1/{name}" for name in ("Speed", "Running", "Zähler")
        }
        back = [*command(project, system, key_file)[:7], "--restore", "--yes"]
        done = run(*back, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (project / FOLDER / "config.json").read_bytes() == before
        assert system.consumer.stop() == 0
