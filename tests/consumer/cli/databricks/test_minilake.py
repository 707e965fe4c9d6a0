"""`databricks setup` and `check` against minilake, as far as that goes.

It refuses COMMENT, so that the tables are made beforehand, without; and has no secrets.
"""

import re

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from support import minilake
from support.databricks_command import EVENTS, METADATA, TABLE, Plant
from support.peer_environments import UnavailableError

from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA
from consumer.setup import create_table
from consumer.setup.databricks.preparation import one_statement

TABLES = {TABLE: TAG_EVENTS, EVENTS: SPARKPLUG_EVENTS, METADATA: TAG_METADATA}


@pytest.fixture
def plant(tmp_path, monkeypatch, capsys):
    try:
        with minilake.serving(tmp_path) as url:
            yield Plant(tmp_path, None, url, monkeypatch, capsys)
    except UnavailableError as error:
        pytest.skip(str(error))


def test_setup_and_check_go_as_far_as_it_goes(plant):
    client = WorkspaceClient(config=Config(host=plant.url, token="x"))
    warehouse = client.warehouses.create(name="w", cluster_size="Small").response.id
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "done   catalog plant" in printed.stderr
    assert "done   schema plant.scada" in printed.stderr
    assert 'syntax error at or near "COMMENT"' in printed.stderr
    for name, definition in TABLES.items():
        sql = re.sub(
            r" ?COMMENT '(?:[^'\\]|\\.)*'", "", one_statement(create_table(name, definition))
        )
        client.statement_execution.execute_statement(sql, warehouse, wait_timeout="30s")
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 0, printed.stderr
    assert f"there  table {TABLE}" in printed.stderr
    assert f"done   view {TABLE}_latest" in printed.stderr
    assert f"done   MODIFY, SELECT on table {TABLE}" in printed.stderr
    [principal] = client.service_principals.list()
    plant.configure(client_id=principal.application_id)
    printed = plant.run("check")
    assert "FAIL" not in printed.stderr
    assert printed.returncode == 0
