"""Fetches an OAuth token as the Zerobus SDK does, to say clearly what is wrong with it.

The request is that of the Databricks documentation (OAuth for service principals, client
credentials, or OAuth token federation, an exchange by RFC 8693) with the authorization details
that Zerobus Ingest asks for.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from consumer.check.report import Finding, PartError, Status
from consumer.config import split_url
from consumer.credentials import masked
from consumer.network import (
    PROXY_PASSWORD_WANTED,
    TRUST_ZEROBUS,
    one_line,
    proxies,
    tunnel_trouble,
    unreachable,
)

if TYPE_CHECKING:
    from consumer.config import Zerobus

PART: Final = "oauth"
_MOST_BYTES: Final = 64 * 1024

_MENDS: Final = {
    400: "check that zerobus.table exists and that the service principal has its grants: "
    "`sparkplug-zerobus ddl` prints them",
    401: "zerobus.client_id must be the application id (a UUID) of the service principal, not its "
    "display name; zerobus.client_secret one of its OAuth secrets that has not expired",
    403: "add the service principal to the workspace, and this address to its IP access list",
    404: "zerobus.workspace_url must be the address of the workspace, as in the browser's "
    "address bar",
    429: "too many requests: try again in a minute",
}

_FEDERATED: Final = (
    "the workspace must have a federation policy for the issuer, audience and subject of the token "
    "in zerobus.identity_token_file, which must not have expired; zerobus.client_id must be the "
    "application id of the service principal that the policy belongs to, or empty if it is one of "
    "the account; check, too, that zerobus.table exists and its grants: `sparkplug-zerobus ddl` "
    "prints them"
)
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the secret to another place, or turn POST into GET."""

    def http_error_302(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing: the answer is then the HTTPError of the redirect, to wherever."""
        del args, kwargs

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def check_token(zerobus: Zerobus, *, timeout: float) -> list[Finding]:
    """Ask the workspace for a token for the table, and forget it.

    Raises:
        PartError: there is none.
    """
    opener = urllib.request.build_opener(_NoRedirect())
    try:
        with opener.open(_request(zerobus), timeout=timeout) as response:
            body = response.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error, zerobus) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, OSError):
            raise _unreachable(error.reason, zerobus, timeout) from None
        text = f"{zerobus.workspace_url} cannot be asked: {one_line(masked(str(error.reason)))}"
        raise PartError(text, "correct zerobus.workspace_url") from None
    except OSError as error:
        raise _unreachable(error, zerobus, timeout) from None
    except http.client.HTTPException as error:
        text = f"{zerobus.workspace_url} does not speak HTTP: {type(error).__name__}"
        raise PartError(text, "correct the port in zerobus.workspace_url") from None
    answer = _json(body)
    if not answer.get("access_token"):
        raise PartError(
            f"{zerobus.workspace_url} answered without a token",
            "zerobus.workspace_url must be the address of a Databricks workspace",
        )
    lifetime = answer.get("expires_in")
    valid = f", valid for {lifetime} s" if isinstance(lifetime, int) else ""
    return [
        Finding(Status.OK, PART, f"token for {zerobus.table} from {zerobus.workspace_url}{valid}")
    ]


def _request(zerobus: Zerobus) -> urllib.request.Request:
    catalog, schema, _ = zerobus.table.split(".")
    workspace_id = zerobus.endpoint_host.split(".", maxsplit=1)[0]
    details = [
        _privileges("CATALOG", catalog, "USE CATALOG"),
        _privileges("SCHEMA", f"{catalog}.{schema}", "USE SCHEMA"),
        _privileges("TABLE", zerobus.table, "SELECT", "MODIFY") | {"operations": ["zerobuswrite"]},
    ]
    form = {
        "scope": "all-apis",
        "resource": f"api://databricks/workspaces/{workspace_id}/zerobusDirectWriteApi",
        "authorization_details": json.dumps(details),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    secret = zerobus.secret.get_secret_value()
    if zerobus.auth == "federated":
        form |= {"grant_type": _EXCHANGE, "subject_token": secret, "subject_token_type": _JWT}
        if zerobus.client_id:
            form["client_id"] = zerobus.client_id
    else:
        form["grant_type"] = "client_credentials"
        pair = f"{zerobus.client_id}:{secret}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return urllib.request.Request(  # noqa: S310 - the configuration admits http and https only
        f"{zerobus.workspace_url.rstrip('/')}/oidc/v1/token",
        data=urllib.parse.urlencode(form).encode(),
        headers=headers,
        method="POST",
    )


def _privileges(kind: str, path: str, *names: str) -> dict[str, Any]:
    return {
        "type": "unity_catalog_privileges",
        "privileges": list(names),
        "object_type": kind,
        "object_full_path": path,
    }


def _refused(error: urllib.error.HTTPError, zerobus: Zerobus) -> PartError:
    secret = zerobus.secret.get_secret_value()
    if error.code == 407:
        return PartError(*PROXY_PASSWORD_WANTED)
    if 300 <= error.code < 400:
        try:
            target = urllib.parse.urlsplit(error.headers.get("Location", "")).hostname
        except ValueError:  # no address
            target = None
        target = one_line(masked(target or "another path", secret, zerobus.client_id))
        return PartError(f"HTTP {error.code}: a redirect to {target}", _MENDS[404])
    try:
        answer = _json(error.read(_MOST_BYTES))
    except OSError:
        answer = {}
    said = answer.get("error_description") or answer.get("message") or answer.get("error")
    text = f"HTTP {error.code}"
    if isinstance(said, str):
        text += ": " + one_line(masked(said, secret, zerobus.client_id))
    mend = _MENDS.get(error.code)
    if zerobus.auth == "federated" and error.code in (400, 401):
        mend = _FEDERATED
    if mend is None:
        is_server = error.code >= 500
        mend = "the workspace has a problem: try again later" if is_server else _MENDS[404]
    return PartError(text, mend)


def _unreachable(error: OSError, zerobus: Zerobus, timeout: float) -> PartError:
    if tunnel := tunnel_trouble(str(error), zerobus.workspace_host):
        return PartError(*tunnel)
    parts, port = split_url(zerobus.workspace_url)
    found = unreachable(
        error,
        host=zerobus.workspace_host,
        port=port or (443 if parts.scheme == "https" else 80),
        key="zerobus.workspace_url",
        trust=TRUST_ZEROBUS,
        timeout=timeout,
    )
    return PartError(found.text, found.mend + proxy_hint(zerobus.workspace_host))


def proxy_hint(host: str) -> str:
    """More of a mend where the environment sends connections through a proxy."""
    names = proxies(host)
    if not names:
        return ""
    return f"; {' and '.join(names)} is set: add {host} to no_proxy for a direct connection"


def _json(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
