"""`sparkplug-zerobus databricks`, called in this process, against a workspace."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import pytest

from consumer.cli import main
from support.fake_workspace import ORG_ID, TOKEN, FakeWorkspace, serving

TABLE = "plant.scada.tag_events"
EVENTS = "plant.scada.sparkplug_events"
METADATA = "plant.scada.tag_metadata"

CONFIG = """
servers: [{{name: a, url: mqtt://localhost, password_file: /nowhere}}]
zerobus:
  endpoint: http://127.0.0.1:9001
  workspace_url: {url}
  table: {table}
  events_table: {events}
  metadata_table: {metadata}
  client_id: {client_id}
  client_secret: ${{NOT_SET}}
spool: {{path: {spool}}}
"""


class Printed(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Plant:
    """A workspace, and a configuration that names it."""

    def __init__(self, directory, workspace, url, monkeypatch, capsys):
        self.workspace, self.url, self.directory = workspace, url, directory
        self.spool = directory / "spool.db"
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.config = directory / "c.yaml"
        self.configure()
        for name in list(os.environ):
            if name.startswith(("DATABRICKS_", "ARM_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(directory))
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        monkeypatch.setenv("DATABRICKS_HOST", url)

    def configure(self, client_id="to-be-made", **more):
        text = CONFIG.format(
            url=self.url,
            table=TABLE,
            events=EVENTS,
            metadata=METADATA,
            client_id=client_id,
            spool=self.spool,
        )
        for key, value in more.items():
            text = text.replace("  client_id:", f"  {key}: {value}\n  client_id:")
        self.config.write_text(text, encoding="utf-8")

    def run(self, name, *arguments):
        line = ["sparkplug-zerobus", "databricks", name, "--config", str(self.config), *arguments]
        self._monkeypatch.setattr(sys, "argv", line)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Printed(ended.value.code, *self._capsys.readouterr())


def plant_at(directory, monkeypatch, capsys):
    """A plant with an empty workspace, as long as the generator lives."""
    workspace = FakeWorkspace()
    with serving(workspace) as url:
        yield Plant(directory, workspace, url, monkeypatch, capsys)


__all__ = ["EVENTS", "METADATA", "ORG_ID", "TABLE", "Plant", "Printed", "plant_at"]
