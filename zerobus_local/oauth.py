"""OAuth tokens, as `POST /oidc/v1/token` with client credentials gives them out."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The HTTP answer to a token request."""

    status: int
    body: dict[str, str | int]


class Tokens:
    """The tokens that were given out and have not expired.

    Args:
        credentials: secret per client id; None lets anybody in.
        lifetime: seconds that a token is good for.
    """

    def __init__(self, credentials: Mapping[str, str] | None, lifetime: float) -> None:
        self._credentials = None if credentials is None else dict(credentials)
        self._lifetime = lifetime
        self._expiry: dict[str, float] = {}
        self._lock = threading.Lock()

    def request(self, authorization: str, form: str) -> TokenAnswer:
        """Answer a token request (RFC 6749, sections 4.4 and 5).

        Args:
            authorization: the header, HTTP Basic with client id and secret.
            form: the body. `resource` names a workspace and is not looked at:
                a local server serves any.
        """
        grant = parse_qs(form).get("grant_type", [""])[0]
        if grant != "client_credentials":
            return TokenAnswer(400, {"error": "unsupported_grant_type"})
        client = _basic(authorization)
        if client is None or not self._known(*client):
            return TokenAnswer(
                401,
                {"error": "invalid_client", "error_description": "Client authentication failed"},
            )
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
        """A new token."""
        token = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._expiry = {known: end for known, end in self._expiry.items() if end > now}
            self._expiry[token] = now + self._lifetime
        return token

    def valid(self, authorization: str) -> bool:
        """Whether `authorization` is `Bearer` with a token given out and not expired."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            # The tokens are random: a lookup's timing tells nothing that helps to guess one.
            return scheme.lower() == "bearer" and self._expiry.get(token, 0.0) > time.monotonic()

    def expire_all(self) -> None:
        """Forget all tokens."""
        with self._lock:
            self._expiry.clear()

    def _known(self, client_id: str, secret: str) -> bool:
        if self._credentials is None:
            return bool(client_id and secret)
        expected = self._credentials.get(client_id)
        # Compare for unknown clients too, so that time does not tell which exist.
        same = hmac.compare_digest((expected or "").encode(), secret.encode())
        return same and bool(expected)


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (client_id, secret) if colon else None
