"""The end of the demo: the query, its rows, and what was verified."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from consumer.demo.system import TABLE
from consumer.demo.verification import QUERY

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from consumer.demo.system import SystemReading
    from consumer.demo.verification import Landed


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that a finished demo knows.

    Args:
        published: metric values in births and data, as the gateways counted them.
        distinct_published: how many different observations these are.
        reading: the last one before the parts were stopped.
        landed: what the table holds.
        rows_before: rows of the table before this run.
        problems: what went wrong, beside missing rows. Empty when all went well.
        data_dir: where everything is.
        table_dir: where the Delta table is.
        broker: which MQTT server was used.
    """

    published: int
    distinct_published: int
    reading: SystemReading
    landed: Landed
    rows_before: int
    problems: tuple[str, ...]
    data_dir: Path
    table_dir: Path
    broker: str

    @property
    def missing(self) -> int:
        """Published observations that are not in the table."""
        return self.landed.missing

    @property
    def verified(self) -> bool:
        """Whether everything published has landed, and nothing else went wrong."""
        return not self.missing and not self.problems and self.published > 0

    @property
    def rows_other(self) -> int:
        """Rows that came into the table in this run, but were not published in it."""
        return self.landed.total - self.rows_before - self.landed.rows

    def summary(self) -> dict[str, Any]:
        """The result as one JSON object."""
        landed, reading = self.landed, self.reading
        return {
            "verified": self.verified,
            "events_published": self.published,
            "events_distinct": self.distinct_published,
            "events_received": reading.received,
            "rows_sent": reading.number("rows_sent"),
            "rows_acked": reading.number("rows_acked"),
            "rows_landed": landed.rows,
            "rows_distinct": landed.distinct,
            "rows_other": self.rows_other,
            "missing": self.missing,
            "batches": reading.number("batches"),
            "failures": reading.number("failures"),
            "stream_state": reading.stream_state,
            "last_acked_offset": reading.number("last_acked_offset"),
            "spooled_rows": reading.number("spooled_rows"),
            "rows_dropped": reading.number("rows_dropped"),
            "events_by_type": landed.side.events,
            "tags_described": landed.side.tags,
            "tags_with_unit": landed.side.tags_with_unit,
            "gateways": landed.per_gateway,
            "broker": self.broker,
            "data_dir": str(self.data_dir),
            "table": TABLE,
            "table_dir": str(self.table_dir),
            "problems": list(self.problems),
        }


def show(result: Result, data: Console, human: Console) -> None:
    """Print the query, the rows, the rows per gateway and the Verified block to `data`."""
    landed = result.landed
    data.print("\nThe latest values of ramps in the Delta table, asked with DuckDB:\n")
    data.print("\n".join(f"  {line}" for line in QUERY.splitlines()))
    data.print(_rows(landed, data.width), soft_wrap=True)
    data.print(_gateways(landed))
    data.print(_events(landed))
    data.print("Verified" if result.verified else "NOT verified", style="bold")
    for name, value, remark in _facts(result):
        data.print(f"  {name:<20} {value:>12}  {remark}".rstrip(), soft_wrap=True)
    for line in _complaints(result):
        human.print(line, style="bold red", soft_wrap=True)
    human.print(
        f"\nEverything is kept in {result.data_dir}. To ask the table again:", soft_wrap=True
    )
    human.print(f"  {again(result.table_dir)}", soft_wrap=True)


def again(table_dir: Path) -> str:
    """A shell command that counts the table's rows per gateway and quality."""
    # Names of files relative to the table: absolute ones come percent-encoded.
    code = (
        "import duckdb, deltalake; "
        "files = deltalake.DeltaTable('.').get_add_actions().column('path').to_pylist(); "
        "tag_events = duckdb.read_parquet(files); "
        "print(duckdb.sql('SELECT source_system_id, quality, count(*) FROM tag_events "
        "GROUP BY ALL ORDER BY ALL'))"
    )
    return f'(cd {shlex.quote(str(table_dir))} && {shlex.quote(sys.executable)} -c "{code}")'


def _rows(landed: Landed, width: int) -> Table | str:
    """The query's rows as a table; two lines for each where that is too wide."""
    cells = [tuple(map(_cell, row)) for row in landed.newest]
    widths = [max(map(len, column)) for column in zip(landed.columns, *cells, strict=True)]
    if sum(widths) + 3 * len(widths) < width:
        table = Table(box=SIMPLE_HEAD)
        for name in landed.columns:
            table.add_column(name, justify="right" if name == "numeric_value" else "left")
        for row in cells:
            table.add_row(*row)
        return table
    lines = [""]
    for first, *others in (landed.columns, *cells):
        aligned = (text.ljust(size) for text, size in zip(others, widths[1:], strict=True))
        lines += [f"  {first}", f"      {'  '.join(aligned)}".rstrip()]
    return "\n".join([*lines, ""])


def _gateways(landed: Landed) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("source_system_id")
    table.add_column("rows of this run", justify="right")
    for name, count in landed.per_gateway.items():
        table.add_row(name, f"{count:,}")
    return table


def _events(landed: Landed) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("event_type")
    table.add_column("events", justify="right")
    for name, count in landed.side.events.items():
        table.add_row(name, f"{count:,}")
    return table


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return str(value)


def _facts(result: Result) -> list[tuple[str, str, str]]:
    """Name, value and remark of each line of the Verified block."""
    landed, reading = result.landed, result.reading
    repeated = result.published - result.distinct_published
    duplicates = landed.rows - landed.distinct
    failures = reading.number("failures")
    facts = [
        (
            "published",
            f"{result.published:,}",
            "metric values in births and data"
            + (f", {repeated:,} of them repeated by a birth" if repeated else ""),
        ),
        ("received", f"{reading.received:,}", "rows that the consumer made of them"),
        ("sent", f"{reading.number('rows_sent'):,}", "rows, by the consumer to Zerobus"),
        ("acknowledged", f"{reading.number('rows_acked'):,}", ""),
        (
            "landed",
            f"{landed.rows:,}",
            "rows in the Delta table" + (f", {duplicates:,} of them twice" if duplicates else ""),
        ),
        (
            "distinct events",
            f"{landed.distinct:,}",
            f"of {result.distinct_published:,} computed by the gateways",
        ),
        ("missing", f"{result.missing:,}", ""),
        (
            "tags described",
            f"{landed.side.tags:,}",
            f"in tag_metadata, {landed.side.tags_with_unit:,} of them with a unit",
        ),
        ("batches", f"{reading.number('batches'):,}", ""),
        ("failures", f"{failures:,}", str(reading.status.get("failure", ""))),
        ("stream state", reading.stream_state, ""),
        (
            "last acked offset",
            f"{reading.number('last_acked_offset'):,}",
            "counts the batches of the stream from 0",
        ),
    ]
    if result.rows_other > 0:
        facts.append(
            ("other rows", f"{result.rows_other:,}", "of deaths, posts, or an earlier run's spool")
        )
    return facts


def _complaints(result: Result) -> list[str]:
    """Lines that say what went wrong, and where to look; none if nothing did."""
    lines = list(result.problems)
    if result.published == 0:
        lines.append("Nothing was published.")
    if not result.missing:
        return lines
    reading = result.reading
    lines.append(
        f"{result.missing:,} of {result.distinct_published:,} published events "
        "are not in the table."
    )
    lines.append(f"  for example event_id {', '.join(result.landed.examples)}")
    if reading.received < result.published:
        lines.append(
            f"  {result.published - reading.received:,} were not received, by the consumer's last "
            f"count: see {result.data_dir / 'logs' / 'consumer.log'}"
        )
    if dropped := reading.number("rows_dropped"):
        lines.append(f"  {dropped:,} found no room in the spool")
    if spooled := reading.number("spooled_rows"):
        lines.append(
            f"  {spooled:,} were in the spool, acknowledged by nobody: run the demo again with "
            f"--data-dir {shlex.quote(str(result.data_dir))} and they are delivered first"
        )
    return lines
