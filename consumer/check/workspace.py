"""Compares a workspace with what the consumer writes: tables, grants, warehouse, endpoint.

What Zerobus Ingest takes differs by cloud and month, so what may be refused is a warning; what
cannot work is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.check.report import Finding, Status
from consumer.config import configured_tables
from consumer.errors import WorkspaceError
from consumer.setup import CATALOG_PRIVILEGES, SCHEMA_PRIVILEGES, TABLE_PRIVILEGES, lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from consumer.config import Normalize, Zerobus
    from consumer.rows import Table
    from consumer.setup import FoundTable, Statements, Workspace

_MEND_SETUP: Final = "run `sparkplug-zerobus databricks setup`"
_MEND_SCHEMA: Final = (
    "make the table anew as `sparkplug-zerobus ddl` prints it, and copy the rows into it"
)
_WARNED: Final = "Zerobus Ingest takes it on some clouds and refuses it on others"
_FEATURES: Final = {
    "delta.feature.checkConstraints": "CHECK constraints",
    "delta.feature.generatedColumns": "generated columns",
    "delta.feature.identityColumns": "identity columns",
    "delta.feature.catalogManaged": "catalog-managed commits",
    "delta.feature.catalogOwned-preview": "catalog-managed commits",
}


def check_workspace(
    workspace: Workspace,
    zerobus: Zerobus,
    normalize: Normalize,
    statements: Callable[[], Statements],
) -> Iterator[Finding]:
    """Check all parts of a workspace; one that fails does not hide the others.

    Args:
        workspace: the one of the configuration.
        zerobus: endpoint, tables, client id.
        normalize: columns of the tables.
        statements: chooses the warehouse.
    """
    parts: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("workspace", lambda: _identity(workspace, zerobus)),
        ("warehouse", lambda: _warehouse(statements())),
    ]
    tables = configured_tables(zerobus, normalize)
    for name, definition in tables.items():
        parts.append((f"table {name}", lambda n=name, d=definition: _table(workspace, n, d)))  # type: ignore[misc]
    for kind, name, privileges in _wanted(tables):
        parts.append(
            (
                f"grants on {kind} {name}",
                lambda k=kind, n=name, p=privileges: _grants(  # type: ignore[misc]
                    workspace, k, n, zerobus.client_id, p
                ),
            )
        )
    for part, check in parts:
        try:
            yield from check()
        except WorkspaceError as error:
            yield Finding(Status.FAIL, part, error.what, error.mend)


def _identity(workspace: Workspace, zerobus: Zerobus) -> Iterator[Finding]:
    me = workspace.me().name
    yield Finding(Status.OK, "workspace", f"{zerobus.workspace_url}, as {me}")
    if me == zerobus.client_id:
        text = "this runs as the service principal of the consumer itself, not as an administrator"
        yield Finding(Status.WARN, "workspace", text, "give --profile NAME of a person")
    number, named = workspace.workspace_id(), zerobus.endpoint_host.partition(".")[0]
    if not named.isdecimal() or "." not in zerobus.endpoint_host:
        return
    if not zerobus.endpoint_host.partition(".")[2].startswith("zerobus."):
        return
    if named == number:
        yield Finding(Status.OK, "endpoint", f"is of this workspace, {number}")
        return
    text = f"is of workspace {named}, but {zerobus.workspace_url} is workspace {number}"
    yield Finding(Status.FAIL, "endpoint", text, f"let zerobus.endpoint begin with {number}")


def _warehouse(statements: Statements) -> Iterator[Finding]:
    statements.run("SELECT 1", "asking the warehouse")
    yield Finding(Status.OK, "warehouse", f"{statements.warehouse} answers")


def _table(workspace: Workspace, name: str, definition: Table) -> Iterator[Finding]:
    part = f"table {name}"
    found = workspace.table(name)
    if found is None:
        text = "there is none, or none that you may see"
        yield Finding(Status.FAIL, part, text, _MEND_SETUP)
        return
    findings = [*_columns(part, found, definition), *_form(part, found)]
    yield from findings
    if all(each.status is not Status.FAIL for each in findings):
        text = f"{len(definition.columns)} columns, as the consumer writes them"
        yield Finding(Status.OK, part, text)


def _columns(part: str, found: FoundTable, definition: Table) -> Iterator[Finding]:
    there = {each.name.lower(): each for each in found.columns}
    for column in definition.columns:
        has = there.pop(column.name.lower(), None)
        if has is None:
            yield Finding(
                Status.FAIL,
                part,
                f"lacks column {column.name}",
                f"ALTER TABLE ... ADD COLUMN {column.name} {column.delta_type}",
            )
            continue
        if has.type_text != column.delta_type:
            text = f"{column.name} is {has.type_text}, the consumer writes {column.delta_type}"
            yield Finding(Status.WARN, part, f"{text}; it may be refused", _MEND_SCHEMA)
        if column.nullable and not has.nullable:
            text = f"{column.name} is NOT NULL, but the consumer writes rows without it"
            mend = f"ALTER TABLE ... ALTER COLUMN {column.name} DROP NOT NULL"
            yield Finding(Status.FAIL, part, text, mend)
        if has.is_generated:
            text = f"{column.name} is generated: {_WARNED}"
            yield Finding(Status.WARN, part, text, _MEND_SCHEMA)
    for extra in there.values():
        if not extra.nullable:
            text = f"{extra.name} is NOT NULL, and the consumer does not write it"
            mend = f"ALTER TABLE ... ALTER COLUMN {extra.name} DROP NOT NULL"
            yield Finding(Status.FAIL, part, text, mend)
        else:
            yield Finding(Status.NOTE, part, f"{extra.name} is not written: null in every row")
    written = {column.name.lower() for column in definition.columns}
    order = [each.name.lower() for each in found.columns if each.name.lower() in written]
    wanted = [c.name.lower() for c in definition.columns if c.name.lower() in set(order)]
    if order != wanted:
        text = "its columns have another order; rows are matched by name, so it is harmless"
        yield Finding(Status.NOTE, part, text)


def _form(part: str, found: FoundTable) -> Iterator[Finding]:
    if found.kind not in ("MANAGED", "") or found.form not in ("DELTA", ""):
        text = f"is {found.kind} {found.form}; Zerobus Ingest writes to managed Delta tables"
        yield Finding(Status.FAIL, part, text.replace("  ", " "), _MEND_SCHEMA)
    properties = found.properties
    clustered = properties.get("clusteringColumns", "[]").strip() not in ("", "[]")
    if clustered or properties.get("clusterByAuto") == "true":
        text = f"has liquid clustering: {_WARNED}"
        yield Finding(Status.WARN, part, text, "ALTER TABLE ... CLUSTER BY NONE")
    features = {name: word for name, word in _FEATURES.items() if name in properties}
    constraints = [name for name in properties if name.startswith("delta.constraints.")]
    if constraints:
        features["delta.feature.checkConstraints"] = "CHECK constraints"
    for word in dict.fromkeys(features.values()):
        text = f"has, or had, {word}: {_WARNED}"
        yield Finding(Status.WARN, part, text, _MEND_SCHEMA)


def _wanted(tables: Iterable[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    tables = list(tables)
    schemas = dict.fromkeys(name.rpartition(".")[0] for name in tables)
    for catalog in dict.fromkeys(name.partition(".")[0] for name in schemas):
        yield "catalog", catalog, CATALOG_PRIVILEGES
    for schema in schemas:
        yield "schema", schema, SCHEMA_PRIVILEGES
    for table in tables:
        yield "table", table, TABLE_PRIVILEGES


def _grants(
    workspace: Workspace, kind: str, name: str, principal: str, privileges: tuple[str, ...]
) -> Iterator[Finding]:
    part = f"grants on {kind} {name}"
    granted = workspace.granted(kind, name, principal)
    missing = lacking(granted, privileges, itself=False)
    inherited = lacking(granted, privileges, itself=True) if kind == "table" else []
    if missing:
        text = f"{principal} lacks {', '.join(missing).replace('_', ' ')}"
        yield Finding(Status.FAIL, part, text, _MEND_SETUP)
    elif inherited:
        text = f"{', '.join(inherited)} is inherited; Zerobus Ingest wants it on the table itself"
        yield Finding(Status.WARN, part, text, _MEND_SETUP)
    else:
        text = f"{', '.join(privileges).replace('_', ' ')} for {principal}"
        yield Finding(Status.OK, part, text)
