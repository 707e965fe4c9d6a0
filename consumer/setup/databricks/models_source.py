"""Where it is asked what templates there are: a warehouse, or a copy of tag_metadata on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.errors import ConfigurationError
from consumer.network import one_line
from consumer.setup.databricks.models import members_query, untold_query
from consumer.setup.databricks.models_columns import Declared
from consumer.setup.ddl import quoted

if TYPE_CHECKING:
    from pathlib import Path

_LOCAL: Final = "tag_metadata"


Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Answers a query with rows."""


class Known(NamedTuple):
    """What tag_metadata says of templates.

    `declared` are their members; `untold` is how many tags are in a template of which it does not
    say the instance; `nameless` how many are in instances that name no template; `too_long` how
    many have names that are too long.
    """

    declared: list[Declared]
    untold: int
    nameless: int
    too_long: int


def known_templates(ask: Ask, metadata: str) -> Known:
    """What the table tag_metadata says of templates.

    Args:
        ask: answers queries in Databricks SQL.
        metadata: full name of the table.
    """
    return _known(ask, quoted(metadata))


def known_locally(table: Path) -> Known:
    """What a Delta table on this machine says of templates.

    Args:
        table: directory of a copy of tag_metadata.

    Raises:
        ConfigurationError: there is no such table, or it has not the columns of tag_metadata.
    """
    return _known(_LocalTable(table).ask, _LOCAL)


def _known(ask: Ask, metadata: str) -> Known:
    """The answers for tag_metadata, as it is to be written in SQL."""
    declared = [Declared(*row) for row in ask(members_query(metadata))]
    (numbers,) = ask(untold_query(metadata))
    return Known(declared, *map(int, numbers))


class _LocalTable:
    """A Delta table on this machine, asked with DuckDB."""

    def __init__(self, table: Path) -> None:
        from deltalake import DeltaTable  # noqa: PLC0415 - takes a while, and seldom needed

        if not DeltaTable.is_deltatable(str(table)):
            raise ConfigurationError(f"{table}: no Delta table there")
        self._table = table

    def ask(self, query: str) -> Sequence[Sequence[Any]]:
        import duckdb  # noqa: PLC0415 - as above
        from deltalake import DeltaTable  # noqa: PLC0415
        from deltalake.exceptions import DeltaError  # noqa: PLC0415
        from pyarrow import fs  # noqa: PLC0415

        files = fs.SubTreeFileSystem(str(self._table), fs.LocalFileSystem())
        with duckdb.connect() as database:
            try:
                rows = DeltaTable(self._table).to_pyarrow_dataset(filesystem=files)
                database.execute("SET TimeZone = 'UTC'")
                database.register(_LOCAL, rows)
                # The one function of the queries that DuckDB has under another name.
                database.execute(
                    "CREATE MACRO get_json_object(text, path) AS json_extract_string(text, path)"
                )
                return [*database.sql(query).fetchall()]
            except (duckdb.Error, DeltaError) as error:
                raise ConfigurationError(
                    f"{self._table} cannot be read as tag_metadata: {one_line(str(error))}"
                ) from None
