"""SQL on a warehouse, with the real SDK against a fake workspace, by a clock of our own."""

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.service.sql import EndpointInfo, State
from support.fake_workspace import TOKEN, FakeWorkspace, serving

from consumer.errors import WorkspaceError
from consumer.setup import Statements, Workspace


class World:
    """A workspace; time that passes when somebody waits; and what was told."""

    def __init__(self, url, workspace):
        client = WorkspaceClient(config=Config(host=url, token=TOKEN))
        self.workspace, self.now, self.pauses, self.told = workspace, 0.0, [], []
        self.statements = Statements(
            client,
            Workspace(client).warehouse(),
            timeout=60.0,
            tell=self.told.append,
            pause=self._pause,
            clock=lambda: self.now,
        )

    def _pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def world():
    workspace = FakeWorkspace()
    with serving(workspace) as url:
        yield World(url, workspace)


def test_rows_come_back_as_text(world):
    world.workspace.query = lambda _sql: [(1, None), ("a", 2.5)]
    assert world.statements.run("SELECT 1", "asking") == [["1", None], ["a", "2.5"]]
    assert world.told == []


def test_a_statement_that_takes_its_time_is_told_of_ever_more_rarely(world):
    world.workspace.pending = 6
    world.statements.run("SELECT 1", "asking")
    assert world.pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert world.told[-1] == "asking: PENDING for 12 s on Starter"


def test_a_statement_that_does_not_end_is_cancelled(world):
    world.workspace.pending = 1000
    with pytest.raises(WorkspaceError, match=r"still PENDING after 60 s on Starter .*; cancelled"):
        world.statements.run("SELECT 1", "asking")
    assert world.workspace.cancelled == ["statement-0"]
    assert world.now == pytest.approx(62.5)


def test_sql_that_is_not_understood_fails(world):
    with pytest.raises(WorkspaceError, match="PARSE_SYNTAX_ERROR"):
        world.statements.run("OPTIMIZE plant.scada.tag_events", "asking")


def test_a_warehouse_that_runs_is_preferred_and_then_a_serverless_one(world):
    world.workspace.warehouses[:] = [
        EndpointInfo(id="1", name="classic", state=State.STOPPED),
        EndpointInfo(id="2", name="gone", state=State.DELETED, enable_serverless_compute=True),
        EndpointInfo(id="3", name="quick", state=State.STOPPED, enable_serverless_compute=True),
        EndpointInfo(id="4", name="busy", state=State.RUNNING),
    ]
    workspace = Workspace(world.statements._client)
    assert [each.name for each in workspace.warehouses()] == ["busy", "quick", "classic"]
