"""Asks a running consumer over its HTTP, with a key of its configuration, or of a file."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

import click

from consumer import config
from consumer.cli.output import echo_json
from consumer.config import read_secret
from consumer.errors import ConfigurationError, SparkplugZerobusError
from consumer.foreign import json_text
from consumer.network import direct_opener, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECONDS: Final = 40.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound here
_GOOD_FOR: Final = {"reader": ("reader", "operator"), "operator": ("operator",)}
"""Roles of keys that will do for a role, the first of them before the others."""


class AskingError(SparkplugZerobusError):
    """The running consumer could not be asked, or refused."""


class NoAnswerError(AskingError):
    """Nobody answers where the consumer should."""


class RefusedError(AskingError):
    """The consumer answers, and does not want to."""


class RunningConsumer:
    """The consumer that runs with a configuration, as far as it can be asked over HTTP.

    Args:
        config_path: of the configuration; its http section is used.
        key_file: with a key; None for the first one of the configuration that will do.
        role: that the key needs.

    Attributes:
        address: `host:port` where it is asked.

    Raises:
        ConfigurationError: HTTP is switched off, or there is no key of such a role.
    """

    def __init__(
        self, config_path: Path, key_file: Path | None, role: Literal["reader", "operator"]
    ) -> None:
        # Whoever has a key beside the configuration needs none of its secrets.
        http = config.load(config_path, os.environ, secrets=key_file is None).http
        if http.address is None:
            raise ConfigurationError(
                "http.listen: is empty: a consumer without HTTP cannot be asked"
            )
        host, port = http.address
        host = _EVERYWHERE.get(host, host)
        self.address = f"{host}:{port}"
        scheme = "https" if http.tls.cert_file else "http"
        self._base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/api/"
        key = _key(http, key_file, role)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        context = ssl.create_default_context() if http.tls.cert_file else None
        if context is not None:
            context.check_hostname = False  # it is asked by its address
            context.load_verify_locations(http.tls.cert_file)
            # Itself it is trusted, whoever has issued it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Not through a proxy: it is this machine, or one beside it.
        self._opener = direct_opener(context)

    def get(
        self, route: str, parameters: Mapping[str, str | int], seconds: float = _SECONDS
    ) -> Any:
        """Read what a route below /api tells, waiting for so many seconds at most.

        Raises:
            NoAnswerError: nobody answers there.
            RefusedError: the consumer refuses.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = urllib.request.Request(self._base + route + query, headers=self._headers)  # noqa: S310 - its scheme is ours
        return self._answer(request, seconds)

    def post(self, route: str, body: dict[str, Any]) -> Any:
        """Send a body to a route below /api; return the answer.

        Raises:
            NoAnswerError: nobody answers there.
            RefusedError: the consumer refuses.
        """
        headers = {**self._headers, "Content-Type": "application/json"}
        url, content = self._base + route, json_text(body).encode()
        request = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310 - its scheme is ours
        return self._answer(request, _SECONDS)

    def _answer(self, request: urllib.request.Request, seconds: float) -> Any:
        try:
            with self._opener.open(request, timeout=seconds) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(f"the consumer refuses: {_detail(error)}") from None
        # A consumer that ends in the middle of an answer is HTTPException.
        except (OSError, ValueError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            mend = "does it run, with this file?"
            if isinstance(cause, ssl.SSLError):
                mend = "was it started with this http.tls.cert_file?"
            told = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            reason = "nobody listens" if isinstance(cause, ConnectionRefusedError) else told
            reason = one_line(reason)
            raise NoAnswerError(
                f"no consumer answers at {self.address}: {reason}; {mend}"
            ) from None


def over_http(function: Any) -> Any:
    """Options of a command that asks the running consumer to do something."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
        key_option("an operator"),
    ):
        function = option(function)
    return function


def key_option(whose: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--key-file FILE`; the command gets it as `key_file`."""
    return click.option(
        "--key-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File with {whose}'s key; default: the first one of http.keys.",
    )


def ask(
    config_path: Path, key_file: Path | None, action: str, body: dict[str, Any], *, as_json: bool
) -> dict[str, Any]:
    """Ask the consumer that runs with a configuration for an action; return its answer.

    Args:
        config_path: of the configuration; its http section is used.
        key_file: with an operator's key; None for the first one of the configuration.
        action: below /api/actions.
        body: of the request.
        as_json: print the answer.

    Raises:
        ConfigurationError: HTTP is switched off, or there is no operator's key.
        AskingError: nobody answers there, or the consumer refuses.
    """
    consumer = RunningConsumer(config_path, key_file, "operator")
    told: dict[str, Any] = consumer.post(f"actions/{action}", body)
    if as_json:
        echo_json(told)
    return told


def _key(http: config.Http, key_file: Path | None, role: str) -> str:
    if key_file is not None:
        try:
            return read_secret(key_file)
        except ValueError as error:
            raise ConfigurationError(f"--key-file: names a file that {error}") from None
    roles = _GOOD_FOR[role]
    fit = [each for wanted in roles for each in http.all_keys if each.role == wanted]
    if not fit and http.all_keys:
        whose = " or ".join(f"{'an' if each == 'operator' else 'a'} {each}" for each in roles)
        raise ConfigurationError(f"http.keys: none is of {whose}; name one with --key-file")
    return fit[0].key.get_secret_value() if fit else ""


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
