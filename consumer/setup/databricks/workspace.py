"""Catalogs, schemas, tables, grants and warehouses of one workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError, WorkspaceError
from consumer.setup.databricks.found import FoundColumn, FoundTable, Granted, Identity, Warehouse
from consumer.setup.databricks.sdk import asking, connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.catalog import ColumnInfo

_GONE: Final = {"DELETED", "DELETING"}
_GENERATED: Final = ("delta.generationExpression", "delta.identity.start")
"""Names in the metadata of a column whose values Delta makes."""


class Workspace:
    """One Databricks workspace, over the SDK for Python.

    All methods raise WorkspaceError where the workspace cannot be reached, or refuses.

    Args:
        client: of the SDK; `open_workspace` makes one.
    """

    def __init__(self, client: WorkspaceClient) -> None:
        self.client = client

    def me(self) -> Identity:
        """Who asks."""
        with asking("asking who is logged in"):
            found = self.client.current_user.me()
        return Identity(found.user_name or found.display_name or "somebody")

    def workspace_id(self) -> str:
        """The workspace's number, which its Zerobus endpoint begins with."""
        with asking("asking for the workspace's id"):
            return str(self.client.get_workspace_id())

    # ------------------------------------------------------------------ catalog and schema

    def has_catalog(self, name: str) -> bool:
        """Whether there is a catalog of this name that the person may see."""
        from databricks.sdk.errors import NotFound  # noqa: PLC0415 - see sdk.py

        with asking(f"reading catalog {name}"):
            try:
                self.client.catalogs.get(name)
            except NotFound:
                return False
        return True

    def create_catalog(self, name: str) -> None:
        """Make a catalog; one that somebody made meanwhile is as good."""
        from databricks.sdk.errors import ResourceConflict  # noqa: PLC0415 - see sdk.py

        with asking(f"making catalog {name}", right="CREATE CATALOG on the metastore"):
            try:
                self.client.catalogs.create(name)
            except ResourceConflict:
                return

    def has_schema(self, name: str) -> bool:
        """Whether there is a schema of this full name that the person may see."""
        from databricks.sdk.errors import NotFound  # noqa: PLC0415 - see sdk.py

        with asking(f"reading schema {name}"):
            try:
                self.client.schemas.get(name)
            except NotFound:
                return False
        return True

    def create_schema(self, name: str) -> None:
        """Make a schema, `catalog.schema`; one that somebody made meanwhile is as good."""
        from databricks.sdk.errors import ResourceConflict  # noqa: PLC0415 - see sdk.py

        catalog, schema = name.split(".")
        with asking(f"making schema {name}", right=f"CREATE SCHEMA on catalog {catalog}"):
            try:
                self.client.schemas.create(schema, catalog)
            except ResourceConflict:
                return

    # ------------------------------------------------------------------ tables and grants

    def table(self, name: str) -> FoundTable | None:
        """A table or view by its full name; None if there is none that the person may see."""
        from databricks.sdk.errors import NotFound  # noqa: PLC0415 - see sdk.py

        with asking(f"reading table {name}"):
            try:
                found = self.client.tables.get(name)
            except NotFound:
                return None
        columns = sorted(found.columns or (), key=lambda each: each.position or 0)
        return FoundTable(
            name=name,
            kind=found.table_type.value if found.table_type else "",
            form=found.data_source_format.value if found.data_source_format else "",
            columns=tuple(map(_column, columns)),
            properties=found.properties or {},
            query=found.view_definition or "",
        )

    def granted(self, kind: str, name: str, principal: str) -> tuple[Granted, ...]:
        """Privileges of a principal on a `catalog`, `schema` or `table`, inherited ones too."""
        from databricks.sdk.errors import NotFound  # noqa: PLC0415 - see sdk.py

        with asking(f"reading the grants on {kind} {name}"):
            try:
                found = self.client.grants.get_effective(kind, name, principal=principal)
            except NotFound:
                return ()
        return tuple(
            Granted(privilege.privilege.value, privilege.inherited_from_name or "")
            for each in found.privilege_assignments or ()
            if (each.principal or "").lower() == principal.lower()
            for privilege in each.privileges or ()
            if privilege.privilege is not None
        )

    def grant(self, kind: str, name: str, principal: str, privileges: Sequence[str]) -> None:
        """Grant privileges on a `catalog`, `schema` or `table` to an application id."""
        from databricks.sdk.service.catalog import (  # noqa: PLC0415 - see sdk.py
            PermissionsChange,
            Privilege,
        )

        change = PermissionsChange(principal=principal, add=[Privilege(p) for p in privileges])
        with asking(f"granting on {kind} {name}", right=f"MANAGE on {kind} {name}, or its owner"):
            self.client.grants.update(kind, name, changes=[change])

    # ------------------------------------------------------------------ warehouses

    def warehouses(self) -> list[Warehouse]:
        """SQL warehouses that the person may see; the best one to take first.

        One that runs costs no start; a serverless one starts within seconds.
        """
        with asking("listing SQL warehouses"):
            found = [
                Warehouse(
                    each.id,
                    each.name or "",
                    each.state.value if each.state else "",
                    bool(each.enable_serverless_compute),
                )
                for each in self.client.warehouses.list()
                if each.id
            ]
        usable = [each for each in found if each.state not in _GONE]
        return sorted(usable, key=lambda w: (w.state != "RUNNING", not w.serverless, w.name))

    def warehouse(self, wanted: str = "") -> Warehouse:
        """The warehouse of an id or a name; the best one if none is wanted.

        Raises:
            ConfigurationError: there is none of that id or name.
            WorkspaceError: there is none at all.
        """
        found = self.warehouses()
        if not wanted:
            if not found:
                raise WorkspaceError(
                    "there is no SQL warehouse, or none that you may use",
                    "make one (SQL warehouses, serverless, the smallest), or ask for CAN USE",
                )
            return found[0]
        for each in found:
            if wanted in (each.warehouse_id, each.name):
                return each
        known = ", ".join(str(each) for each in found) or "none"
        raise ConfigurationError(f"--warehouse: there is no {wanted}; there is: {known}")


def open_workspace(url: str, *, profile: str | None, timeout: float) -> Workspace:
    """The workspace at an address, with the credentials of the person who runs this.

    Args:
        url: address of the workspace.
        profile: profile of ~/.databrickscfg, or None.
        timeout: seconds for each request.

    Raises:
        ConfigurationError: the SDK is not installed, finds no credentials, or another workspace.
    """
    return Workspace(connected(url, profile=profile, timeout=timeout))


def _column(found: ColumnInfo) -> FoundColumn:
    try:
        metadata = json.loads(found.type_json or "{}").get("metadata", {})
    except (ValueError, AttributeError, RecursionError):
        metadata = {}
    return FoundColumn(
        found.name or "",
        (found.type_text or "").upper(),
        found.nullable is not False,
        any(name in metadata for name in _GENERATED),
    )
