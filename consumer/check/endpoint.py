"""Creates a Zerobus stream on the table and closes it. Sends no row.

The SDK's errors are text; what they mean is in the Databricks documentation (Zerobus
Ingest error handling) or has been seen with databricks-zerobus-ingest-sdk 1.10. What they mean
while a consumer runs is in consumer/sinks/meanings.py.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.check.report import Finding, PartError, Status
from consumer.check.token import proxy_hint
from consumer.config import configured_tables
from consumer.credentials import masked
from consumer.errors import SinkFailure
from consumer.network import TRUST_ZEROBUS, one_line
from consumer.sinks import try_stream

if TYPE_CHECKING:
    from consumer.config import Zerobus

PART: Final = "zerobus"

_GRANTS: Final = (
    "grant USE CATALOG, USE SCHEMA and, on the table itself, MODIFY and SELECT to the application "
    "id of the service principal: `sparkplug-zerobus ddl` prints the statements"
)
_COLUMNS: Final = (
    "compare the table with `sparkplug-zerobus ddl`: names, types and NOT NULL must be the same"
)
_FEATURES: Final = (
    "the table must be a managed Delta table without liquid clustering, generated columns and "
    "CHECK constraints, as `sparkplug-zerobus ddl` prints it"
)


class _Meaning(NamedTuple):
    pattern: str
    text: str
    mend: str


# First match wins: numbers are more exact than gRPC's status, which is more exact than words.
_MEANINGS: Final = tuple(
    _Meaning(*meaning)
    for meaning in (
        (
            r"Error Code: 4024|default storage",
            "the table is of a kind that Zerobus does not write to",
            "create the catalog with a storage location of its own, not in default storage, and "
            "the table in it; if it is, " + _GRANTS,
        ),
        (
            r"Error Code: 1521",
            "internal error 1521",
            "zerobus.endpoint and zerobus.workspace_url must name the same workspace and region; "
            "if they do, the table has liquid clustering: " + _FEATURES,
        ),
        (r"Error Code: 1015", "the table has generated columns", _FEATURES),
        (
            r"Error Code: (8001|4044)|[Ss]chema|unrecognized field|not a column",
            "the table's columns are not those of the rows",
            _COLUMNS,
        ),
        (
            r"requested entity was not found",
            "there is no such table, or the service principal may not see it",
            "create it with `sparkplug-zerobus ddl`, or correct its name in the configuration; "
            "if it is there, " + _GRANTS,
        ),
        (r"does not have permission", "permission denied", _GRANTS),
        (
            r"valid authentication credentials|UC token|Client error \(40[13]\)",
            "the token was not accepted",
            "zerobus.endpoint must be of the workspace that zerobus.workspace_url names; "
            + _GRANTS,
        ),
        (r"not implemented or not supported", "the table or the call is not supported", _FEATURES),
        (r"invalid argument", "the table was refused", _COLUMNS + "; " + _FEATURES),
        (
            r"resource has been exhausted",
            "a limit of the service is reached",
            "try again later; compare with the quotas of Zerobus Ingest",
        ),
        (r"dns error", "the name of the endpoint is not known", "correct zerobus.endpoint"),
        (
            r"UnknownIssuer|UnknownCA|CaUsedAsEndEntity|BadSignature",
            "the certificate of the endpoint is not trusted",
            TRUST_ZEROBUS,
        ),
        (
            r"NotValidForName",
            "the certificate of the endpoint is for another host",
            "write the name that the certificate has into zerobus.endpoint",
        ),
        (
            r"certificate: Expired|NotValidYet",
            "the certificate of the endpoint is not valid now",
            "renew it, or set this machine's clock",
        ),
        (
            r"InvalidContentType",
            "the endpoint does not speak TLS",
            "write http:// into zerobus.endpoint for a local server, or correct its port",
        ),
        (
            r"ConnectionRefused|tcp connect error",
            "nobody listens on the endpoint",
            "correct zerobus.endpoint, or start `sparkplug-zerobus local-zerobus`",
        ),
        (
            r"timed out|Timeout|Deadline expired",
            "the endpoint did not answer in time",
            "correct zerobus.endpoint, or open the firewall between",
        ),
        (
            r"http2 error|HTTP/2 was not|transport error|connection closed|operation was cancel",
            "what listens on the endpoint does not speak gRPC, or speaks it over TLS only",
            "correct the scheme and the port of zerobus.endpoint",
        ),
        (
            r"Token fetch failed",
            "the SDK got no token",
            "correct zerobus.workspace_url, or try again later",
        ),
    )
)
_NETWORK: Final = re.compile(
    r"transport error|transport::Error|Network error|timed out|Token fetch"
)


def check_endpoint(zerobus: Zerobus, *, timeout: float, table: str = "") -> list[Finding]:
    """Create and close a stream on one of the configured tables.

    Args:
        zerobus: endpoint, credentials, tables.
        timeout: seconds for each step.
        table: full name of the table; that of tag_events unless given.

    Raises:
        PartError: the SDK could not.
    """
    table = table or zerobus.table
    started = time.monotonic()
    try:
        try_stream(
            zerobus.endpoint,
            zerobus.workspace_url,
            client_id=zerobus.client_id,
            client_secret=zerobus.client_secret.get_secret_value(),
            table=table,
            descriptor=configured_tables(zerobus)[table].descriptor,
            timeout=timeout,
        )
    except SinkFailure as error:
        raise explain(str(error), zerobus, table) from None
    after = (time.monotonic() - started) * 1000
    text = f"stream on {table} opened in {after:.0f} ms and closed; no row was sent"
    return [Finding(Status.OK, PART, text)]


def explain(error: str, zerobus: Zerobus, table: str = "") -> PartError:
    """Say what an error text of the SDK means for the configuration."""
    said = _said(masked(error, zerobus.client_secret.get_secret_value(), zerobus.client_id))
    found = next((m for m in _MEANINGS if re.search(m.pattern, error)), None)
    text = f"{table or zerobus.table} on {zerobus.endpoint}: "
    if found is None:
        return PartError(text + said, "look up the text in the error list of Zerobus Ingest")
    hint = proxy_hint(zerobus.endpoint_host) if _NETWORK.search(error) else ""
    return PartError(f"{text}{found.text} ({said})", found.mend + hint)


def _said(error: str) -> str:
    """The server's own words where the SDK wraps them into its own."""
    match = re.search(r'message: "((?:[^"\\]|\\.)*)"', error)
    return one_line(match[1].replace('\\"', '"') if match and match[1] else error)
