"""Asks a running consumer to do something, over its HTTP, with the key of an operator."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import click

from consumer import config
from consumer.cli.output import echo_json
from consumer.config import read_secret
from consumer.errors import ConfigurationError, SparkplugZerobusError
from consumer.foreign import json_text
from consumer.network import one_line

_SECONDS: Final = 40.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound here


class ActionError(SparkplugZerobusError):
    """The running consumer could not be asked, or refused."""


class NobodyAnswersError(ActionError):
    """There is no running consumer where the configuration says, or it does not answer."""


def over_http(function: Any) -> Any:
    """Options of a command that asks the running consumer."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File with an operator's key; default: the first one of http.keys.",
        ),
    ):
        function = option(function)
    return function


class RunningConsumer:
    """The consumer that runs with a configuration, asked over its HTTP.

    Args:
        config_path: of the configuration; its http section is used.
        key_file: with an operator's key; None for the first one of the configuration.

    Raises:
        ConfigurationError: HTTP is switched off, or there is no operator's key.
    """

    def __init__(self, config_path: Path, key_file: Path | None) -> None:
        # Whoever has a key beside the configuration needs none of its secrets.
        http = config.load(config_path, os.environ, secrets=key_file is None).http
        if http.address is None:
            raise ConfigurationError(
                "http.listen: is empty: a consumer without HTTP cannot be asked"
            )
        host, port = http.address
        host = _EVERYWHERE.get(host, host)
        scheme = "https" if http.tls.cert_file else "http"
        self._place = f"{host}:{port}"
        self._url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self._headers = {"Content-Type": "application/json"}
        if key := _key(http, key_file):
            self._headers["Authorization"] = f"Bearer {key}"
        context = ssl.create_default_context() if http.tls.cert_file else None
        if context is not None:
            context.check_hostname = False  # it is asked by its address
            context.load_verify_locations(http.tls.cert_file)
            # Itself it is trusted, whoever has issued it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Not through a proxy: it is this machine, or one beside it.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """What it answers on a path.

        Raises:
            NobodyAnswersError: nobody answers there.
            ActionError: the consumer refuses.
        """
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        return self._send(urllib.request.Request(f"{self._url}{path}{query}", None, self._headers))  # noqa: S310 - its scheme is ours

    def act(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for an action below /api/actions; return the answer.

        Raises:
            NobodyAnswersError: nobody answers there.
            ActionError: the consumer refuses.
        """
        url = f"{self._url}/api/actions/{action}"
        content = json_text(body).encode()
        return self._send(urllib.request.Request(url, content, self._headers, method="POST"))  # noqa: S310 - its scheme is ours

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                told: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ActionError(f"the consumer refuses: {_detail(error)}") from None
        except (OSError, ValueError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            mend = "does it run, with this file?"
            if isinstance(cause, ssl.SSLError):
                mend = "was it started with this http.tls.cert_file?"
            raise NobodyAnswersError(
                f"no consumer answers at {self._place}: {one_line(str(cause))}; {mend}"
            ) from None
        return told


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
        ActionError: nobody answers there, or the consumer refuses.
    """
    told = RunningConsumer(config_path, key_file).act(action, body)
    if as_json:
        echo_json(told)
    return told


def _key(http: config.Http, key_file: Path | None) -> str:
    if key_file is not None:
        try:
            return read_secret(key_file)
        except ValueError as error:
            raise ConfigurationError(f"--key-file: names a file that {error}") from None
    operators = [each for each in http.all_keys if each.role == "operator"]
    if not operators and http.all_keys:
        raise ConfigurationError("http.keys: none is of an operator; name one with --key-file")
    return operators[0].key.get_secret_value() if operators else ""


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
