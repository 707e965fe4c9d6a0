"""Creates a Zerobus stream on the table and closes it. Sends no row."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from consumer.check.report import Finding, PartError, Status
from consumer.check.token import proxy_hint
from consumer.config import Normalize, configured_tables
from consumer.credentials import masked
from consumer.errors import SinkFailure
from consumer.network import one_line
from consumer.sinks import Login, is_of_network, meaning_of, try_stream

if TYPE_CHECKING:
    from consumer.config import Zerobus

PART: Final = "zerobus"


def check_endpoint(
    zerobus: Zerobus, *, timeout: float, table: str = "", normalize: Normalize | None = None
) -> list[Finding]:
    """Create and close a stream on one of the configured tables.

    Args:
        zerobus: endpoint, credentials, tables.
        timeout: seconds for each step.
        table: full name of the table; that of tag_events unless given.
        normalize: says which columns tag_events has; all of ours unless given.

    Raises:
        PartError: the SDK could not.
    """
    table = table or zerobus.table
    started = time.monotonic()
    try:
        try_stream(
            zerobus.endpoint,
            zerobus.workspace_url,
            login=Login(
                zerobus.client_id,
                zerobus.secret.get_secret_value,
                federated=zerobus.auth == "federated",
            ),
            table=table,
            descriptor=configured_tables(zerobus, normalize or Normalize())[table].descriptor,
            timeout=timeout,
        )
    except SinkFailure as error:
        raise explain(str(error), zerobus, table) from None
    after = (time.monotonic() - started) * 1000
    text = f"stream on {table} opened in {after:.0f} ms and closed; no row was sent"
    return [Finding(Status.OK, PART, text)]


def explain(error: str, zerobus: Zerobus, table: str = "") -> PartError:
    """Say what an error text of the SDK means for the configuration."""
    said = _said(masked(error, zerobus.secret.get_secret_value(), zerobus.client_id))
    found = meaning_of(error, opening=True)
    text = f"{table or zerobus.table} on {zerobus.endpoint}: "
    if not found.text:
        return PartError(text + said, "look up the text in the error list of Zerobus Ingest")
    hint = proxy_hint(zerobus.endpoint_host) if is_of_network(error) else ""
    return PartError(f"{text}{found.text} ({said})", found.mend + hint)


def _said(error: str) -> str:
    """The server's own words where the SDK wraps them into its own."""
    match = re.search(r'message: "((?:[^"\\]|\\.)*)"', error)
    return one_line(match[1].replace('\\"', '"') if match and match[1] else error)
