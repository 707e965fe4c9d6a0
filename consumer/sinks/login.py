"""How the SDK proves who the consumer is, with a secret that may change meanwhile."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from consumer.credentials import masked

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_WORDS: Final = 4_000
_MOST_SECRETS: Final = 3
"""Secrets that are masked: an error may speak of one that has been replaced since."""


class Login:
    """Who the consumer is, and the secret that proves it, asked for anew whenever it is needed.

    Args:
        client_id: application id of the service principal; may be empty with `federated`.
        secret: gives the OAuth secret; with `federated` the token of the identity provider.
        federated: exchange a token of an identity provider for one of Databricks (RFC 8693),
            instead of asking for one with a secret (RFC 6749, 4.4).
    """

    def __init__(
        self, client_id: str, secret: Callable[[], str], *, federated: bool = False
    ) -> None:
        self.client_id = client_id
        self._secret = secret
        self._federated = federated
        self._known: deque[str] = deque(maxlen=_MOST_SECRETS)
        self._auth: Any = None

    def has_changed(self) -> bool:
        """Whether the OAuth secret is another than when it was asked for last.

        A token of an identity provider is asked for by the SDK, when it needs one: it changes
        every hour, and what it was exchanged for is good for as long.
        """
        if self._federated:
            return False
        before = self._known[-1] if self._known else None
        return self._current() != before and before is not None

    def _current(self) -> str:
        secret = self._secret()
        if not self._known or self._known[-1] != secret:
            self._known.append(secret)
        return secret

    def create_stream(self, module: Any, sdk: Any, properties: Any, options: Any) -> Any:
        """Open a stream.

        Args:
            module: the SDK's.
            sdk: its `ZerobusSdk`.
            properties: its `TableProperties`.
            options: its `StreamConfigurationOptions`.

        Raises:
            Exception: whatever the SDK raises.
        """
        if not self._federated:
            return sdk.create_stream(self.client_id, self._current(), properties, options)
        if self._auth is None:  # one for all: the SDK remembers what a token was exchanged for
            self._auth = module.FederatedToken(self._current, self.client_id or None)
        return sdk.create_stream(table_properties=properties, options=options, auth=self._auth)

    def words(self, error: Exception) -> str:
        """The service's words in an error: without secrets, and cut to what a letter keeps."""
        text = str(error)
        for secret in self._known:
            text = masked(text, secret, self.client_id)
        return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]} ..."
