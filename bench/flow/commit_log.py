"""What is in a Delta table by now, read from the files of its log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from pathlib import Path


class Commit(NamedTuple):
    """Rows that were appended: the number of the commit, their files, how many."""

    number: int
    files: list[str]
    rows: int


class CommitLog:
    """Follows the log of a table. It asks the file system only, and no process that is measured."""

    def __init__(self, table: Path) -> None:
        self._log = table / "_delta_log"
        self._next = 0
        self.commits: list[Commit] = []
        self._rows = 0

    def rows(self) -> int:
        """Rows that were appended so far."""
        while True:
            try:
                text = (self._log / f"{self._next:020}.json").read_text(encoding="utf-8")
            except FileNotFoundError:
                return self._rows
            self._next += 1
            self._read([json.loads(line) for line in text.splitlines()])

    def _read(self, actions: list[dict[str, dict[str, object]]]) -> None:
        # What merges files changes no data, and has no number.
        added = [each["add"] for each in actions if each.get("add", {}).get("dataChange")]
        numbers = [each["txn"]["version"] for each in actions if "txn" in each]
        if added:
            rows = sum(json.loads(str(each["stats"]))["numRecords"] for each in added)
            files = [unquote(str(each["path"])) for each in added]
            self.commits.append(Commit(int(str(numbers[0])), files, rows))
            self._rows += rows
