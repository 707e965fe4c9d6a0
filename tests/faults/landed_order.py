"""The landed table as the Delta log tells it: the order of commits, and its columns."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path


def table_path(data_dir: Path, name: str) -> Path:
    return data_dir.joinpath(*name.split("."))


def _log(path: Path) -> list[list[dict[str, Any]]]:
    """The actions of each commit, in order; the log must not have been cleaned up."""
    files = sorted((path / "_delta_log").glob("*.json"))
    assert [int(each.stem) for each in files] == list(range(len(files)))
    return [
        [json.loads(line) for line in each.read_text(encoding="utf-8").splitlines()]
        for each in files
    ]


def arrival_numbers(path: Path) -> list[int]:
    """The arrival_number of every row in the order in which rows landed."""
    numbers: list[int] = []
    for commit in _log(path):
        for action in commit:
            if "add" in action:
                rows = pq.read_table(path / action["add"]["path"], columns=["arrival_number"])
                numbers += rows["arrival_number"].to_pylist()
    return numbers


def change_columns(path: Path, schema: dict[str, Any] | None, drop: str = "") -> dict[str, Any]:
    """Commit a change of the table's columns, as ALTER TABLE does: files stay as they are.

    Nobody else may write meanwhile.

    Args:
        path: of the table.
        schema: what the columns are to be; None for the present ones.
        drop: the column to leave out of them.

    Returns:
        What the columns were.
    """
    commits = _log(path)
    metadata = [a["metaData"] for commit in commits for a in commit if "metaData" in a][-1]
    before: dict[str, Any] = json.loads(metadata["schemaString"])
    fields = (schema or before)["fields"]
    after = {"type": "struct", "fields": [each for each in fields if each["name"] != drop]}
    actions = [
        {"commitInfo": {"timestamp": time.time_ns() // 1_000_000, "operation": "CHANGE COLUMNS"}},
        {"metaData": metadata | {"schemaString": json.dumps(after)}},
    ]
    file = path / "_delta_log" / f"{len(commits):020}.json"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in actions), encoding="utf-8")
    return before
