"""A workspace is prepared in steps: what is there is left as it is, what is missing is made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.errors import ConfigurationError, WorkspaceError
from consumer.setup.databricks.found import lacking
from consumer.setup.databricks.principals import Principals, holds_secret
from consumer.setup.ddl import create_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from consumer.rows import Table
    from consumer.setup.databricks.found import Principal
    from consumer.setup.databricks.statements import Statements
    from consumer.setup.databricks.workspace import Workspace

TABLE_PRIVILEGES: Final = ("MODIFY", "SELECT")
"""What Zerobus Ingest wants on the table itself; inherited ones are not enough."""
CATALOG_PRIVILEGES: Final = ("USE_CATALOG",)
SCHEMA_PRIVILEGES: Final = ("USE_SCHEMA",)

_NOT_YET: Final = "<its application id>"
_VIEW_NAME: Final = re.compile(r"^CREATE OR REPLACE VIEW (?P<name>.+) AS$", re.MULTILINE)


class StepState(StrEnum):
    """What became of a step."""

    THERE = "there"
    """It was done before: nothing is changed."""
    WOULD = "would"
    """It is to be done, and shown only."""
    DONE = "done"
    FAILED = "FAILED"
    LEFT = "left"
    """Not tried, since one before it failed, or not asked for."""


class Outcome(NamedTuple):
    """What became of one step: `shown` is its SQL or call, `remark` what else is to be said."""

    state: StepState
    what: str
    shown: str = ""
    remark: str = ""

    def as_json(self) -> dict[str, str]:
        """The outcome as a program reads it."""
        return {
            "state": str(self.state),
            "step": self.what,
            "call": self.shown,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a workspace is to have.

    Attributes:
        tables: definition by full name.
        views: CREATE OR REPLACE VIEW of each.
        application_id: of the service principal that there is; empty to have one made.
        principal_name: display name of the one that is found or made then.
        secret_file: where its secret goes; None for none.
    """

    tables: Mapping[str, Table]
    views: Sequence[str]
    application_id: str = ""
    principal_name: str = "sparkplug-zerobus"
    secret_file: Path | None = None
    schemas: tuple[str, ...] = field(init=False)
    catalogs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        schemas = dict.fromkeys(name.rpartition(".")[0] for name in self.tables)
        object.__setattr__(self, "schemas", tuple(schemas))
        catalogs = dict.fromkeys(name.partition(".")[0] for name in schemas)
        object.__setattr__(self, "catalogs", tuple(catalogs))


class _Step(NamedTuple):
    what: str
    shown: Callable[[], str]
    is_there: Callable[[], str | None]
    """A remark, empty for none, if it was done before; None if it is to be done."""
    do: Callable[[], str]
    """Does it; returns a remark."""


class Preparation:
    """The steps that give a workspace what a consumer writes to, and the right to do it.

    Args:
        workspace: the one to prepare.
        principals: its service principals.
        statements: runs SQL on the chosen warehouse.
        wanted: what it is to have.
    """

    def __init__(
        self,
        workspace: Workspace,
        principals: Principals,
        statements: Statements,
        wanted: Wanted,
    ) -> None:
        self._workspace = workspace
        self._principals = principals
        self._statements = statements
        self._wanted = wanted
        self._principal: Principal | None = None

    @property
    def application_id(self) -> str:
        """Of the service principal, once it was found or made; empty before."""
        return self._principal.application_id if self._principal else ""

    def run(self, *, apply: bool) -> Iterator[Outcome]:
        """Look at every step, and do those that are missing if `apply`.

        The first one that fails ends it; what was done before stays, and is there the next time.
        """
        steps = self._steps()
        for index, step in enumerate(steps):
            shown = ""
            try:
                remark = step.is_there()
                if remark is not None:
                    yield Outcome(StepState.THERE, step.what, "", remark)
                    continue
                shown = step.shown()
                if not apply:
                    yield Outcome(StepState.WOULD, step.what, shown)
                    continue
                yield Outcome(StepState.DONE, step.what, shown, step.do())
            except (WorkspaceError, ConfigurationError) as error:
                yield Outcome(StepState.FAILED, step.what, shown, str(error))
                for other in steps[index + 1 :]:
                    yield Outcome(StepState.LEFT, other.what, "", "not tried")
                return

    def _steps(self) -> list[_Step]:
        wanted = self._wanted
        steps = [self._catalog(name) for name in wanted.catalogs]
        steps += [self._schema(name) for name in wanted.schemas]
        steps += [self._table(name, definition) for name, definition in wanted.tables.items()]
        steps += [self._view(sql) for sql in wanted.views]
        steps.append(self._service_principal())
        if wanted.secret_file is not None:
            steps.append(self._secret(wanted.secret_file))
        steps += [self._grant("catalog", name, CATALOG_PRIVILEGES) for name in wanted.catalogs]
        steps += [self._grant("schema", name, SCHEMA_PRIVILEGES) for name in wanted.schemas]
        steps += [self._grant("table", name, TABLE_PRIVILEGES) for name in wanted.tables]
        return steps

    # ------------------------------------------------------------------ the steps

    def _catalog(self, name: str) -> _Step:
        def do() -> str:
            self._workspace.create_catalog(name)
            return ""

        return _Step(
            f"catalog {name}",
            lambda: f"catalogs.create({name!r})",
            lambda: "" if self._workspace.has_catalog(name) else None,
            do,
        )

    def _schema(self, name: str) -> _Step:
        catalog, schema = name.split(".")

        def do() -> str:
            self._workspace.create_schema(name)
            return ""

        return _Step(
            f"schema {name}",
            lambda: f"schemas.create({schema!r}, {catalog!r})",
            lambda: "" if self._workspace.has_schema(name) else None,
            do,
        )

    def _table(self, name: str, definition: Table) -> _Step:
        sql = one_statement(create_table(name, definition))

        def is_there() -> str | None:
            found = self._workspace.table(name)
            if found is None:
                return None
            if found.kind not in ("MANAGED", ""):
                raise WorkspaceError(
                    f"{name} is there, and is {found.kind}, not a managed table",
                    "give the table another name in the configuration",
                )
            return "its columns are compared by `databricks check`"

        def do() -> str:
            right = f"CREATE TABLE on schema {name.rpartition('.')[0]}"
            self._statements.run(sql, f"making table {name}", right=right)
            return ""

        return _Step(f"table {name}", lambda: sql, is_there, do)

    def _view(self, text: str) -> _Step:
        sql = one_statement(text)
        name = view_name(sql)
        query = sql.partition(" AS\n")[2]

        def is_there() -> str | None:
            found = self._workspace.table(name)
            if found is None:
                return None
            if found.kind not in ("VIEW", ""):
                raise WorkspaceError(
                    f"{name} is there, and is {found.kind}, not a view",
                    "rename it: the views of a table are named after it",
                )
            return "" if _bare(found.query) == _bare(query) else None

        def do() -> str:
            right = f"CREATE TABLE on schema {name.rpartition('.')[0]}"
            self._statements.run(sql, f"making view {name}", right=right)
            return ""

        return _Step(f"view {name}", lambda: sql, is_there, do)

    def _service_principal(self) -> _Step:
        wanted = self._wanted
        name = wanted.application_id or wanted.principal_name

        def is_there() -> str | None:
            if wanted.application_id:
                self._principal = self._principals.by_application_id(wanted.application_id)
                if self._principal is None:
                    raise WorkspaceError(
                        f"the workspace has no service principal with the application id {name}",
                        "correct zerobus.client_id; or leave it away (any text that is no UUID), "
                        "and one is made",
                    )
            else:
                self._principal = self._principals.by_name(name)
            if self._principal is None:
                return None
            return f"application id {self._principal.application_id}"

        def do() -> str:
            self._principal = self._principals.create(name)
            return f"application id {self._principal.application_id}"

        return _Step(
            f"service principal {name}",
            lambda: f"service_principals.create(display_name={name!r})",
            is_there,
            do,
        )

    def _secret(self, file: Path) -> _Step:
        def is_there() -> str | None:
            return "the file is there; nothing is read of it" if holds_secret(file) else None

        def do() -> str:
            principal = self._made()
            before = self._principals.secrets(principal)
            self._principals.secret_into(file, principal)
            if not before:
                return "mode 600"
            return f"mode 600; it has {before} other(s): delete those that nobody uses"

        return _Step(
            f"secret of the service principal, in {file}",
            lambda: "service_principal_secrets_proxy.create(<number of the principal>)",
            is_there,
            do,
        )

    def _grant(self, kind: str, name: str, privileges: tuple[str, ...]) -> _Step:
        def missing() -> list[str]:
            if self._principal is None:
                return list(privileges)
            has = self._workspace.granted(kind, name, self._principal.application_id)
            return lacking(has, privileges, itself=kind == "table")

        def shown() -> str:
            principal = self.application_id or _NOT_YET
            change = f"{{principal: {principal}, add: {', '.join(missing())}}}"
            return f"grants.update({kind!r}, {name!r}, changes=[{change}])"

        def do() -> str:
            principal = self._made().application_id
            self._workspace.grant(kind, name, principal, missing())
            return ""

        return _Step(
            f"{', '.join(privileges).replace('_', ' ')} on {kind} {name}",
            shown,
            lambda: None if missing() else "",
            do,
        )

    def _made(self) -> Principal:
        assert self._principal is not None
        return self._principal


def one_statement(text: str) -> str:
    """SQL for a person as one statement for the API: without comments before it, and no `;`."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return "\n".join(lines).rstrip().removesuffix(";")


def view_name(sql: str) -> str:
    """The full name of the view that a CREATE OR REPLACE VIEW makes, without backticks."""
    found = _VIEW_NAME.search(sql)
    assert found is not None
    return found["name"].replace("`", "")


def _bare(query: str) -> str:
    return " ".join(query.split()).rstrip(";").rstrip()
