"""The Databricks SDK for Python: loaded when it is used, and its errors in our words."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from consumer.credentials import masked
from consumer.errors import ConfigurationError, WorkspaceError
from consumer.network import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

INSTALL: Final = "pip install 'sparkplug-zerobus[databricks]'"
_LOGIN: Final = (
    "log in anew (databricks auth login --profile NAME), or give --profile NAME or DATABRICKS_TOKEN"
)


def connected(url: str, *, profile: str | None, timeout: float) -> WorkspaceClient:
    """A client of the workspace, with credentials that the SDK finds by its own rules.

    These are arguments, the environment (DATABRICKS_HOST, DATABRICKS_TOKEN and others) and
    profiles of ~/.databrickscfg. A host that they name must be that of the configuration: the
    credentials of one workspace are not shown to another.

    Args:
        url: address of the workspace, which is used where the SDK finds none.
        profile: profile of ~/.databrickscfg; None for what the SDK takes then.
        timeout: seconds for one request, and for all attempts at it.

    Raises:
        ConfigurationError: the SDK is not installed, finds no credentials, or another workspace.
    """
    try:
        from databricks.sdk import WorkspaceClient  # noqa: PLC0415 - an extra, and slow to load
        from databricks.sdk.config import Config  # noqa: PLC0415 - see above
    except ImportError:
        raise ConfigurationError(
            f"the Databricks SDK for Python is not installed: {INSTALL}"
        ) from None
    # It warns of what it could not find out, where nobody asked; what it raises is enough.
    logging.getLogger("databricks.sdk").addHandler(logging.NullHandler())
    seconds = max(1, round(timeout))

    def found(host: str | None) -> Config:
        return Config(
            host=host,
            profile=profile,
            http_timeout_seconds=seconds,
            retry_timeout_seconds=seconds,
            product="sparkplug-zerobus",
            product_version="0.1.0",
        )

    try:
        with contextlib.suppress(ValueError):
            config = found(None)
            _see_same_host(config.host or "", url)
            return WorkspaceClient(config=config)
        return WorkspaceClient(config=found(url))
    except ValueError as error:
        text = one_line(masked(str(error))).partition(". Config:")[0]
        raise ConfigurationError(f"no credentials for {url}: {text}; {_LOGIN}") from None


def _see_same_host(found: str, url: str) -> None:
    if _bare(found) != _bare(url):
        raise ConfigurationError(
            f"the Databricks SDK finds the workspace {one_line(masked(found))}, but "
            f"zerobus.workspace_url is {url}: give --profile NAME of that workspace, or set "
            "DATABRICKS_HOST to it"
        )


def _bare(url: str) -> str:
    return url.partition("://")[2].rstrip("/").lower() if "://" in url else url.rstrip("/").lower()


@contextlib.contextmanager
def asking(what: str, *, right: str = "") -> Iterator[None]:
    """Errors of the SDK become a WorkspaceError.

    Args:
        what: what is asked of the workspace, such as `reading catalog plant`.
        right: who may do it, for the mend of a refusal.
    """
    # Here, not at the top: whoever has a client has loaded them.
    import requests  # noqa: PLC0415
    from databricks.sdk.errors import (  # noqa: PLC0415
        PermissionDenied,
        Unauthenticated,
    )
    from databricks.sdk.errors.base import DatabricksError  # noqa: PLC0415

    try:
        yield
    except Unauthenticated as error:
        raise WorkspaceError(f"{what}: {_said(error)}", _LOGIN) from None
    except PermissionDenied as error:
        mend = f"needs {right or 'more rights'}: ask an administrator"
        if "access token" in str(error):  # that of a token that is none is no other status
            mend = _LOGIN
        raise WorkspaceError(f"{what}: refused: {_said(error)}", mend) from None
    except DatabricksError as error:
        raise WorkspaceError(f"{what}: {_said(error)}", "see the text of the error") from None
    except (TimeoutError, requests.RequestException, OSError) as error:
        raise WorkspaceError(
            f"{what}: the workspace cannot be reached: {_said(error)}",
            "check zerobus.workspace_url, name resolution, firewalls and proxies; "
            "--timeout gives it more seconds",
        ) from None
    except ValueError as error:  # credentials that cannot be used, such as a refused client
        raise WorkspaceError(f"{what}: {_said(error)}", _LOGIN) from None


def _said(error: Exception) -> str:
    return one_line(masked(str(error) or type(error).__name__))
