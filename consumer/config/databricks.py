"""Where the rows go: Zerobus endpoint, workspace, table, credentials.

The form of the endpoint, and the mistakes that people make with it, are those of
the Databricks documentation (Zerobus Ingest, "Get your workspace URL and Zerobus
Ingest endpoint").
"""

import ipaddress
import re
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from consumer.config.addresses import bare, remove, split_url
from consumer.config.section import (
    Address,
    ConflictError,
    Duration,
    FileName,
    SecretFile,
    Section,
    Size,
    wants_secrets,
)
from consumer.config.units import KIB, MIB
from consumer.foreign import is_fit

MAX_CALL_BYTES: Final = 10_420_224
"""The SDK refuses a call whose records sum up to more bytes (10 MiB - 64 KiB)."""

_CLOUDS: Final = {
    "cloud.databricks.com": "AWS",
    "gcp.databricks.com": "Google Cloud",
    "azuredatabricks.net": "Azure",
}
_ENDPOINT_FORM: Final = (
    "<workspace id>.zerobus.<region>.cloud.databricks.com (AWS) or "
    "<workspace id>.zerobus.<region>.azuredatabricks.net (Azure)"
)
_SECRETS: Final = {False: "client_secret", True: "identity_token"}
"""Key of the secret, by whether `auth` is `federated`."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class DatabricksHost(NamedTuple):
    """What a host name of Databricks says about itself; empty where it says nothing."""

    cloud: str
    is_zerobus: bool
    workspace_id: str
    region: str


def recognise(host: str) -> DatabricksHost | None:
    """Read a host name; None for a host that is not Databricks' own."""
    domain = next((d for d in _CLOUDS if host == d or host.endswith(f".{d}")), None)
    if domain is None:
        return None
    labels = host.removesuffix(domain).rstrip(".").split(".")
    if len(labels) == 3 and labels[1] == "zerobus":
        return DatabricksHost(_CLOUDS[domain], True, labels[0], labels[2])
    azure = re.fullmatch(r"adb-(\d+)", labels[0])
    # Before 2020 the workspaces of an Azure region shared one host, named after it.
    shared = domain == "azuredatabricks.net" and len(labels) == 1 and not azure
    workspace_id = azure[1] if azure else ""
    return DatabricksHost(_CLOUDS[domain], False, workspace_id, labels[0] if shared else "")


def is_local(host: str) -> bool:
    """Whether a host is this machine, a private address or a name without a dot."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private


def _http_url(url: str, *, what: str) -> tuple[str, str, str]:
    """Return (scheme://host[:port], host, what follows it); the scheme defaults to https."""
    url = bare(url, instead="use client_id and client_secret_file")
    if not url:
        raise ValueError("must not be empty")
    parts, port = split_url(url if "://" in url else f"https://{url}")
    if parts.scheme in ("grpc", "grpcs"):
        scheme = "http" if parts.scheme == "grpc" and is_local(parts.hostname or "") else "https"
        raise ValueError(f"must not begin with {parts.scheme}://; write {scheme}://")
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https:// (or, for a local server, http://)")
    host = parts.hostname or ""
    if not host:
        raise ValueError(f"has no host; write {what}")
    if ":" in host:
        raise ValueError("the SDK cannot connect to an IPv6 address; write a host name")
    if parts.scheme == "http" and recognise(host):
        raise ValueError("must begin with https://; Databricks speaks TLS only")
    rest = parts.path.rstrip("/")
    rest += f"?{parts.query}" if parts.query else ""
    rest += f"#{parts.fragment}" if parts.fragment else ""
    base = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return base, host, rest


def _check_endpoint(endpoint: str) -> str:
    base, host, rest = _http_url(endpoint, what=_ENDPOINT_FORM)
    if rest.startswith("/api/"):
        raise ValueError(
            f"is a REST path of the workspace, not the Zerobus endpoint; write {_ENDPOINT_FORM}"
        )
    known = recognise(host)
    if known and not known.is_zerobus:
        form = _ENDPOINT_FORM
        if known.workspace_id:
            form = f"{known.workspace_id}.zerobus.<region>.azuredatabricks.net"
        raise ValueError(
            f"is the workspace URL (that is zerobus.workspace_url); the Zerobus endpoint is {form}"
        )
    if rest:
        raise ValueError(f"must end after the host; {remove(rest)}")
    return base


def _check_workspace_url(url: str) -> str:
    what = "for example https://dbc-a1b2345c-d6e7.cloud.databricks.com"
    base, host, rest = _http_url(url, what=what)
    known = recognise(host)
    if known and known.is_zerobus:
        raise ValueError(f"is the Zerobus endpoint; write the address of the workspace, {what}")
    if "?" in rest or "#" in rest or (known and rest):
        raise ValueError(f"must end after the host; {remove(rest)}")
    return base + rest


def _check_table(table: str) -> str:
    if "`" in table:
        raise ValueError("must be written without backticks")
    if not is_fit(table):
        raise ValueError("must be written without line ends and invisible characters")
    parts = table.split(".")
    if len(parts) != 3 or not all(part.strip() == part != "" for part in parts):
        raise ValueError("must have three parts: catalog.schema.table")
    return table


def _check_side_table(table: str) -> str:
    return _check_table(table) if table else table


def _check_client_id(client_id: str) -> str:
    if not client_id.strip():
        raise ValueError("must not be empty; it is the application id of the service principal")
    return client_id.strip()


class ZerobusBatch(Section):
    """How rows are grouped into calls of the SDK."""

    max_records: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most rows per call. More than 1000 gains nothing.",
    )
    max_bytes: Size = Field(
        default=8 * MIB,
        ge=64 * KIB,
        lt=MAX_CALL_BYTES,
        description="Most bytes per call. The SDK refuses calls of more than 10,420,224 bytes.",
    )
    max_delay: Duration = Field(
        default=0.5,
        ge=0.001,
        le=60.0,
        description="Longest wait for a call to fill up while others are in flight. With nothing "
        "in flight rows are sent at once.",
    )
    max_inflight: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Most calls per stream that may await their acknowledgement.",
    )


class Zerobus(Section):
    """Zerobus Ingest: endpoint, table and credentials."""

    endpoint: Annotated[str, AfterValidator(_check_endpoint), Address] = Field(
        description="Zerobus endpoint of the workspace: "
        "`<workspace id>.zerobus.<region>.cloud.databricks.com` on AWS, "
        "`<workspace id>.zerobus.<region>.azuredatabricks.net` on Azure. Without a scheme: "
        "`https://`. `http://host:port` for a local server.",
        examples=["https://1444828305810485.zerobus.us-west-2.cloud.databricks.com"],
    )
    workspace_url: Annotated[str, AfterValidator(_check_workspace_url), Address] = Field(
        description="Address of the workspace, where OAuth tokens come from.",
        examples=["https://example.cloud.databricks.com"],
    )
    table: Annotated[str, AfterValidator(_check_table)] = Field(
        description="Landing table, `catalog.schema.table`. It must exist; "
        "`sparkplug-zerobus ddl` prints its CREATE TABLE.",
        examples=["ignition_demo.scada_data.tag_events"],
    )
    events_table: Annotated[str, AfterValidator(_check_side_table)] = Field(
        default="",
        description="Table for what happens to edge nodes and devices (births, deaths, gaps, "
        "rebirth requests, quarantine, alarms), `catalog.schema.table`, made like `table`. "
        "Empty: none is written.",
        examples=["ignition_demo.scada_data.sparkplug_events"],
    )
    metadata_table: Annotated[str, AfterValidator(_check_side_table)] = Field(
        default="",
        description="Table for what births say of tags (unit, range, documentation, properties), "
        "`catalog.schema.table`, made like `table`. Empty: none is written.",
        examples=["ignition_demo.scada_data.tag_metadata"],
    )
    auth: Literal["client_credentials", "federated"] = Field(
        default="client_credentials",
        description="How the consumer proves who it is: with an OAuth secret of the service "
        "principal, or with tokens of an identity provider that the workspace trusts (a federation "
        "policy), so that no secret of Databricks lies in the plant.",
    )
    client_id: Annotated[str, AfterValidator(_check_client_id)] = Field(
        default="",
        description="Application id (a UUID) of the service principal, not its display name. "
        "Required, unless `auth` is `federated` with a policy of the whole account.",
        examples=["${DATABRICKS_CLIENT_ID}"],
    )
    client_secret: SecretStr = Field(
        default=SecretStr(""),
        description="OAuth secret of the service principal. Required, here or as a file, unless "
        "`auth` is `federated`.",
        examples=["${DATABRICKS_CLIENT_SECRET}"],
    )
    client_secret_file: Annotated[FileName, SecretFile] = Field(
        default="",
        description="File that holds the secret instead; a trailing line end is cut off. "
        "When it changes it is read again for the next stream.",
        examples=["/run/secrets/databricks"],
    )
    identity_token: SecretStr = Field(
        default=SecretStr(""),
        description="Comes from `identity_token_file` only, for it expires.",
    )
    identity_token_file: Annotated[FileName, SecretFile] = Field(
        default="",
        description="File with the token (a JWT) of the identity provider, for `auth: federated`. "
        "Somebody else writes it and renews it: a Kubernetes projected volume, an agent. It is "
        "read again whenever a token of Databricks is asked for.",
        examples=["/var/run/secrets/tokens/databricks"],
    )
    streams: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Streams to `table` that send in parallel. The quotas of one are 100 MB/s and "
        "100,000 records/s; rows of some 200 bytes meet the second first. The rows of an edge "
        "node go over one stream, so that their order is kept.",
    )
    batch: ZerobusBatch = Field(
        default=ZerobusBatch(), description="How rows are grouped into calls."
    )

    @property
    def endpoint_host(self) -> str:
        """Host of the endpoint."""
        return split_url(self.endpoint)[0].hostname or ""

    @property
    def workspace_host(self) -> str:
        """Host of the workspace."""
        return split_url(self.workspace_url)[0].hostname or ""

    @property
    def secret(self) -> SecretStr:
        """What proves who the consumer is: the OAuth secret, or the identity provider's token."""
        return self.identity_token if self.auth == "federated" else self.client_secret

    @property
    def secret_file(self) -> str:
        """Name of the file with `secret`; empty where there is none."""
        return self.identity_token_file if self.auth == "federated" else self.client_secret_file

    @model_validator(mode="after")
    def _auth_is_whole(self, info: ValidationInfo) -> "Zerobus":
        is_federated = self.auth == "federated"
        mine, other = _SECRETS[is_federated], _SECRETS[not is_federated]
        if getattr(self, other).get_secret_value() or getattr(self, f"{other}_file"):
            key = f"{other}_file" if getattr(self, f"{other}_file") else other
            raise ConflictError(key, f"is not for auth: {self.auth}; remove it, or change auth")
        if not is_federated and not self.client_id:
            raise ConflictError("client_id", "missing; add it, for example ${DATABRICKS_CLIENT_ID}")
        if wants_secrets(info.context) and not self.secret.get_secret_value():
            give = (
                "identity_token_file"
                if is_federated
                else ("client_secret: ${VARIABLE} or client_secret_file")
            )
            raise ConflictError(give if is_federated else mine, f"missing; give {give}")
        if is_federated and self.secret.get_secret_value() and not self.identity_token_file:
            raise ConflictError(mine, "expires; give identity_token_file, which is read again")
        return self

    @model_validator(mode="after")
    def _tables_are_different(self) -> "Zerobus":
        seen = {self.table.lower(): "table"}
        for key, table in (
            ("events_table", self.events_table),
            ("metadata_table", self.metadata_table),
        ):
            other = seen.setdefault(table.lower(), key)
            if table and other != key:
                raise ConflictError(key, f"is the table that {other} names; give it one of its own")
        return self

    @model_validator(mode="after")
    def _endpoint_belongs_to_workspace(self) -> "Zerobus":
        endpoint, workspace = recognise(self.endpoint_host), recognise(self.workspace_host)
        if endpoint is None or workspace is None:
            return self
        for what, one, other in (
            ("cloud", endpoint.cloud, workspace.cloud),
            ("workspace", endpoint.workspace_id, workspace.workspace_id),
            ("region", endpoint.region, workspace.region),
        ):
            if one and other and one != other:
                raise ConflictError(
                    "endpoint",
                    f"is of {what} {one}, but workspace_url is of {what} {other}; "
                    "both must name the same workspace",
                )
        return self

    def warnings(self) -> list[str]:
        """What is allowed but probably a mistake; each text begins with the key."""
        found = []
        known = recognise(self.endpoint_host)
        if known is None and not is_local(self.endpoint_host):
            found.append(f"endpoint: {self.endpoint_host} does not look like {_ENDPOINT_FORM}")
            if self.endpoint.startswith("http://"):
                found.append("endpoint: http:// sends rows and tokens unencrypted")
        if (known is None) != (recognise(self.workspace_host) is None):
            found.append(
                "workspace_url: one of endpoint and workspace_url is Databricks, the other is not"
            )
        if known is not None and self.client_id and not _UUID.fullmatch(self.client_id):
            found.append(
                "client_id: is not a UUID; it must be the application id of the service "
                "principal, not its display name"
            )
        found += [
            f"{key}: Zerobus Ingest takes names of ASCII letters, digits and underscores only"
            for key in ("table", "events_table", "metadata_table")
            if not re.fullmatch(r"[A-Za-z0-9_.]*", getattr(self, key))
        ]
        return found
