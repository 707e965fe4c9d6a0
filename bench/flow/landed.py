"""What landed, and how long after it was published it was acknowledged.

The time of publication is in each row: the payload's timestamp, which the generator takes
when it writes to its socket. The time of the acknowledgement is that at which the server
acknowledged the commit in which the row's file was added. Both are of one machine's clock.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import duckdb

from flow.commit_log import CommitLog

if TYPE_CHECKING:
    from pathlib import Path

QUANTILES: Final = (0.5, 0.95, 0.99)

_LANDED: Final = """\
SELECT count(*), count(DISTINCT event_id), max(acknowledged_us),
    quantile_cont(acknowledged_us - epoch_us(payload_timestamp), ?)
FROM read_parquet(?, filename = true) JOIN commits ON filename = file
WHERE message_type = ?"""


class Landed(NamedTuple):
    """Rows in the table, different observations among them, and when they were acknowledged.

    `latency_ms` are the quantiles of QUANTILES; `last_us` is microseconds since 1970.
    """

    rows: int
    distinct: int
    last_us: int
    latency_ms: list[float]


def landed(table: Path, acknowledgements: Path, message_type: str = "NDATA") -> Landed:
    """All rows of one type of messages.

    Raises:
        KeyError: a commit was not acknowledged.
        ValueError: there are no rows.
    """
    acknowledged: dict[int, int] = {}
    for line in acknowledgements.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        acknowledged[entry["commit"]] = entry["acknowledged_us"]
    log = CommitLog(table)
    log.rows()
    files = {
        str(table / file): acknowledged[commit.number]
        for commit in log.commits
        for file in commit.files
    }
    with duckdb.connect() as db:
        db.execute("CREATE TABLE commits (file VARCHAR, acknowledged_us BIGINT)")
        db.executemany("INSERT INTO commits VALUES (?, ?)", list(files.items()))
        found = db.execute(_LANDED, [list(QUANTILES), list(files), message_type]).fetchone()
    if not found or not found[0]:
        raise ValueError(f"no rows of {message_type} have landed")
    rows, distinct, last_us, latency_us = found
    return Landed(rows, distinct, last_us, [round(each / 1e3, 1) for each in latency_us])
