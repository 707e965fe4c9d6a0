"""A Databricks workspace over HTTP, as far as `sparkplug-zerobus databricks` asks one.

Made of the SDK's own types: what it answers is what they become as JSON, so that no answer has a
field that the SDK does not know. It is a fake: what a live workspace refuses beyond this, it does
not. SQL is parsed as Databricks SQL; what the parser does not understand fails.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import sqlglot
from databricks.sdk.service import catalog, iam, oauth2, sql
from sqlglot import exp

ORG_ID = "1444828305810485"
TOKEN = "a-token-of-the-administrator"
SECRET = "dose-a-secret-of-the-principal"
ADMIN = "admin@plant.example"
WAREHOUSE = "a1b2c3d4e5f6a7b8"


class Refusal(Exception):  # noqa: N818 - an answer, raised
    def __init__(self, status, code, message):
        self.status, self.code, self.message = status, code, message


class FakeWorkspace:
    """The state of the workspace; tests read and set it.

    `refuse` maps a regular expression over "METHOD path" to a Refusal. `pending` is how often a
    statement is not done yet when it is asked for. `query` answers SELECTs with rows.
    """

    def __init__(self):
        self.catalogs, self.schemas, self.tables = {}, {}, {}
        self.principals, self.secrets, self.grants = {}, {}, {}
        self.warehouses = [
            sql.EndpointInfo(
                id=WAREHOUSE,
                name="Starter",
                state=sql.State.RUNNING,
                enable_serverless_compute=True,
            )
        ]
        self.refuse = {}
        self.pending = 0
        self.fail = {}
        self.statements, self.requests, self.cancelled = [], [], []
        self.query = lambda _sql: []
        self.before_secret = lambda: None
        self._running = {}

    # ------------------------------------------------------------------ answers

    def answer(self, method, path, query, body, token):
        self.requests.append((method, path, body))
        if token != f"Bearer {TOKEN}":
            raise Refusal(
                401,
                "UNAUTHENTICATED",
                "Credential was not sent or was of an unsupported type for this API.",
            )
        for pattern, refusal in self.refuse.items():
            if re.search(pattern, f"{method} {path}"):
                raise refusal
        for pattern, handler in ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return handler(self, *map(unquote, found.groups()), query=query, body=body)
        raise Refusal(404, "ENDPOINT_NOT_FOUND", f"no API {method} {path}")

    def me(self, **_):
        return iam.User(user_name=ADMIN, id="1")

    def get_catalog(self, name, **_):
        return _known(self.catalogs, name, "Catalog")

    def make_catalog(self, body, **_):
        _new(self.catalogs, body["name"], "Catalog")
        self.catalogs[body["name"]] = catalog.CatalogInfo(name=body["name"], owner=ADMIN)
        return self.catalogs[body["name"]]

    def get_schema(self, name, **_):
        return _known(self.schemas, name, "Schema")

    def make_schema(self, body, **_):
        _known(self.catalogs, body["catalog_name"], "Catalog")
        name = f"{body['catalog_name']}.{body['name']}"
        _new(self.schemas, name, "Schema")
        self.schemas[name] = catalog.SchemaInfo(full_name=name, owner=ADMIN)
        return self.schemas[name]

    def get_table(self, name, **_):
        return _known(self.tables, name, "Table")

    def list_warehouses(self, **_):
        return sql.ListWarehousesResponse(warehouses=self.warehouses)

    def list_principals(self, query, **_):
        found = list(self.principals.values())
        asked = re.fullmatch(r'(\w+) eq "(.*)"', query.get("filter", ""))
        if asked:
            name = {"applicationId": "application_id", "displayName": "display_name"}[asked[1]]
            found = [each for each in found if getattr(each, name) == asked[2]]
        start = int(query["startIndex"]) - 1
        return iam.ListServicePrincipalResponse(
            resources=found[start:], total_results=len(found), start_index=start + 1
        )

    def make_principal(self, body, **_):
        return self.add_principal(body["displayName"])

    def add_principal(self, name):
        number = str(7000 + len(self.principals))
        self.principals[number] = iam.ServicePrincipal(
            id=number, application_id=str(uuid.uuid4()), display_name=name, active=True
        )
        return self.principals[number]

    def list_secrets(self, number, **_):
        return oauth2.ListServicePrincipalSecretsResponse(secrets=self.secrets.get(number, []))

    def make_secret(self, number, **_):
        self.before_secret()
        kept = self.secrets.setdefault(number, [])
        kept.append(oauth2.SecretInfo(id=f"secret-{len(kept)}", status="ACTIVE"))
        return oauth2.CreateServicePrincipalSecretResponse(id=kept[-1].id, secret=SECRET)

    def delete_secret(self, number, secret_id, **_):
        self.secrets[number] = [each for each in self.secrets[number] if each.id != secret_id]

    def effective(self, kind, name, query, **_):
        self._securable(kind, name)
        has = self.grants.get((kind, name), {})
        return catalog.EffectivePermissionsList(
            privilege_assignments=[
                catalog.EffectivePrivilegeAssignment(
                    principal=principal,
                    privileges=[
                        catalog.EffectivePrivilege(
                            privilege=catalog.Privilege(privilege), inherited_from_name=source
                        )
                        for privilege, source in privileges.items()
                    ],
                )
                for principal, privileges in has.items()
                if principal == query.get("principal", principal)
            ]
        )

    def update_grants(self, kind, name, body, **_):
        self._securable(kind, name)
        for change in map(catalog.PermissionsChange.from_dict, body["changes"]):
            ids = {each.application_id for each in self.principals.values()}
            if change.principal not in ids:
                raise Refusal(404, "PRINCIPAL_DOES_NOT_EXIST", f"no {change.principal}")
            has = self.grants.setdefault((kind, name), {}).setdefault(change.principal, {})
            has.update({each.value: None for each in change.add})
        return catalog.UpdatePermissionsResponse()

    def _securable(self, kind, name):
        return _known(
            {"catalog": self.catalogs, "schema": self.schemas, "table": self.tables}[kind],
            name,
            kind.capitalize(),
        )

    # ------------------------------------------------------------------ statements

    def execute(self, body, **_):
        if body["warehouse_id"] not in {each.id for each in self.warehouses}:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", "no such warehouse")
        number = f"statement-{len(self.statements)}"
        self.statements.append(body["statement"])
        self._running[number] = [self.pending, body["statement"]]
        return self.state_of(number)

    def state_of(self, number, **_):
        left, text = self._running[number]
        if left:
            self._running[number][0] -= 1
            status = sql.StatementStatus(state=sql.StatementState.PENDING)
            return sql.StatementResponse(statement_id=number, status=status)
        for pattern, (code, message) in self.fail.items():
            if re.search(pattern, text):
                return _failed(number, code, message)
        try:
            rows = self._ran(text)
        except sqlglot.errors.ParseError as error:
            return _failed(number, "BAD_REQUEST", f"[PARSE_SYNTAX_ERROR] {error}")
        return sql.StatementResponse(
            statement_id=number,
            status=sql.StatementStatus(state=sql.StatementState.SUCCEEDED),
            result=sql.ResultData(data_array=rows),
        )

    def cancel(self, number, **_):
        self.cancelled.append(number)

    def _ran(self, text):
        tree = parsed(text)
        if isinstance(tree, exp.Create):
            self._create(tree, text)
            return []
        return [[None if v is None else str(v) for v in row] for row in self.query(text)]

    def _create(self, tree, text):
        is_view = tree.kind == "VIEW"
        table = tree.this if is_view else tree.this.this
        name = ".".join(part.name for part in table.parts)
        _known(self.schemas, name.rpartition(".")[0], "Schema")
        if is_view:
            self.tables[name] = catalog.TableInfo(
                full_name=name,
                table_type=catalog.TableType.VIEW,
                view_definition=text.partition(" AS\n")[2],
            )
            return
        self.tables[name] = table_of(
            name,
            [
                (each.name, each.kind.sql("databricks").lower(), not _is_required(each))
                for each in tree.this.expressions
            ],
        )


def table_of(name, columns, properties=None, kind=catalog.TableType.MANAGED):
    """A Delta table as the workspace shows it; columns are (name, type, nullable)."""
    return catalog.TableInfo(
        full_name=name,
        table_type=kind,
        data_source_format=catalog.DataSourceFormat.DELTA,
        properties=properties or {},
        columns=[
            catalog.ColumnInfo(
                name=column,
                type_text=type_text,
                nullable=nullable,
                position=position,
                type_json=json.dumps({"name": column, "type": type_text, "metadata": {}}),
            )
            for position, (column, type_text, nullable) in enumerate(columns)
        ],
    )


def parsed(text):
    """The tree of one statement of Databricks SQL.

    Raises:
        ParseError: it is none, or one that the parser does not really understand.
    """
    tree = sqlglot.parse_one(text, dialect="databricks")
    if isinstance(tree, exp.Command):
        raise sqlglot.errors.ParseError(f"not understood: {text[:80]}")
    return tree


def _is_required(column):
    return any(
        isinstance(each.kind, exp.NotNullColumnConstraint) and not each.kind.args.get("allow_null")
        for each in column.constraints
    )


def _known(kept, name, kind):
    if name not in kept:
        code = {"Catalog": "CATALOG", "Schema": "SCHEMA"}.get(kind, "TABLE")
        raise Refusal(404, f"{code}_DOES_NOT_EXIST", f"{kind} '{name}' does not exist.")
    return kept[name]


def _new(kept, name, kind):
    if name in kept:
        raise Refusal(409, "ALREADY_EXISTS", f"{kind} '{name}' already exists")


def _failed(number, code, message):
    error = sql.ServiceError(error_code=sql.ServiceErrorCode(code), message=message)
    status = sql.StatementStatus(state=sql.StatementState.FAILED, error=error)
    return sql.StatementResponse(statement_id=number, status=status)


_UC = "/api/2.1/unity-catalog"
_SCIM = "/api/2.0/preview/scim/v2"
_SECRETS = "/api/2.0/accounts/servicePrincipals/([^/]+)/credentials/secrets"
_SQL = "/api/2.0/sql"
ROUTES = (
    (f"GET {_SCIM}/Me", FakeWorkspace.me),
    (f"GET {_UC}/catalogs/([^/]+)", FakeWorkspace.get_catalog),
    (f"POST {_UC}/catalogs", FakeWorkspace.make_catalog),
    (f"GET {_UC}/schemas/([^/]+)", FakeWorkspace.get_schema),
    (f"POST {_UC}/schemas", FakeWorkspace.make_schema),
    (f"GET {_UC}/tables/([^/]+)", FakeWorkspace.get_table),
    (f"GET {_UC}/effective-permissions/([^/]+)/([^/]+)", FakeWorkspace.effective),
    (f"PATCH {_UC}/permissions/([^/]+)/([^/]+)", FakeWorkspace.update_grants),
    (f"GET {_SCIM}/ServicePrincipals", FakeWorkspace.list_principals),
    (f"POST {_SCIM}/ServicePrincipals", FakeWorkspace.make_principal),
    (f"GET {_SECRETS}", FakeWorkspace.list_secrets),
    (f"POST {_SECRETS}", FakeWorkspace.make_secret),
    (f"DELETE {_SECRETS}/([^/]+)", FakeWorkspace.delete_secret),
    (f"GET {_SQL}/warehouses", FakeWorkspace.list_warehouses),
    (f"POST {_SQL}/statements", FakeWorkspace.execute),
    (f"GET {_SQL}/statements/([^/]+)", FakeWorkspace.state_of),
    (f"POST {_SQL}/statements/([^/]+)/cancel", FakeWorkspace.cancel),
)


@contextmanager
def serving(workspace):
    """The address at which a workspace answers."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else {}
            token = self.headers.get("Authorization", "")
            try:
                found = workspace.answer(self.command, url.path, query, body, token)
                status, answer = 200, found.as_dict() if found is not None else {}
            except Refusal as refusal:
                status = refusal.status
                answer = {"error_code": refusal.code, "message": refusal.message}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Databricks-Org-Id", ORG_ID)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names of http.server

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
