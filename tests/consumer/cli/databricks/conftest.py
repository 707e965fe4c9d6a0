"""A plant with an empty workspace."""

import pytest
from support.databricks_command import plant_at


@pytest.fixture
def plant(tmp_path, monkeypatch, capsys):
    yield from plant_at(tmp_path, monkeypatch, capsys)
