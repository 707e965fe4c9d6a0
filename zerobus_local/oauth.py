"""OAuth tokens, as `POST /oidc/v1/token` gives them out: for client credentials, or in exchange.

Tokens are signed rather than remembered: those of the service outlive a restart
of an ingest server, and the SDK takes a refused token for the end of a stream
that it is recovering.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The HTTP answer to a token request."""

    status: int
    body: dict[str, str | int]


class Tokens:
    """Issues access tokens, and recognises those that it issued.

    Args:
        credentials: secret per client id, looked up with each request; for an exchange the token
            of the identity provider per client id, empty for one of the account. None lets
            anybody in. A token of an identity provider is compared, its signature is not checked.
        lifetime: seconds that a token is good for.
        key: the secret that tokens are signed with, see `signing_key`.
    """

    def __init__(self, credentials: Mapping[str, str] | None, lifetime: float, key: bytes) -> None:
        self._credentials = credentials
        self._lifetime = lifetime
        self._key = key
        self._expired_until = 0

    def request(self, authorization: str, form: str) -> TokenAnswer:
        """Answer a token request (RFC 6749, sections 4.4 and 5; RFC 8693, section 2).

        Args:
            authorization: the header, HTTP Basic with client id and secret; none for an exchange.
            form: the body. `resource` names a workspace and is not looked at:
                a local server serves any.
        """
        fields = {name: values[0] for name, values in parse_qs(form).items()}
        grant = fields.get("grant_type")
        if grant == _EXCHANGE:
            client_id = fields.get("client_id", "")
            if not self._known(client_id, fields.get("subject_token", "")):
                text = "The subject token is not one that a federation policy lets in"
                return TokenAnswer(400, {"error": "invalid_grant", "error_description": text})
            return self._granted()
        if grant != "client_credentials":
            return TokenAnswer(400, {"error": "unsupported_grant_type"})
        client = _basic(authorization)
        if client is None or not client[0] or not self._known(*client):
            return TokenAnswer(
                401,
                {"error": "invalid_client", "error_description": "Client authentication failed"},
            )
        return self._granted()

    def _granted(self) -> TokenAnswer:
        return TokenAnswer(
            200,
            {
                "access_token": self.issue(),
                "token_type": "Bearer",
                "scope": "all-apis",
                "expires_in": int(self._lifetime),
            },
        )

    def issue(self) -> str:
        """A new token: time of issue, end of validity (both ns since 1970) and a signature."""
        issued = time.time_ns()
        claims = struct.pack(">QQ", issued, issued + int(self._lifetime * 1e9))
        return base64.urlsafe_b64encode(claims + self._signature(claims)).decode()

    def valid(self, authorization: str) -> bool:
        """Whether `authorization` is `Bearer` with a token given out and not expired."""
        scheme, _, token = authorization.partition(" ")
        try:
            raw = base64.urlsafe_b64decode(token)
        except (binascii.Error, ValueError):
            return False
        claims, signature = raw[:16], raw[16:]
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            signature, self._signature(claims)
        ):
            return False
        issued, end = struct.unpack(">QQ", claims)
        return bool(issued > self._expired_until and time.time_ns() < end)

    def expire_all(self) -> None:
        """Let all tokens given out so far be expired."""
        self._expired_until = time.time_ns()

    def _signature(self, claims: bytes) -> bytes:
        return hmac.digest(self._key, claims, "sha256")

    def _known(self, client_id: str, secret: str) -> bool:
        if self._credentials is None:
            return bool(secret)
        expected = self._credentials.get(client_id)
        # Compare for unknown clients too, so that time does not tell which exist.
        same = hmac.compare_digest((expected or "").encode(), secret.encode())
        return same and bool(expected)


def signing_key(path: Path) -> bytes:
    """The key in the file `path`, which is made, for its owner only, if it is not there.

    Raises:
        OSError: it can be neither read nor made.
    """
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(descriptor, secrets.token_bytes(32))
        os.close(descriptor)
    return path.read_bytes()


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (client_id, secret) if colon else None
