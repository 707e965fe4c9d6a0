"""Addresses: of MQTT servers, of Databricks, and to listen on.

An address with a user name or a password in it is refused before anything else is said of it, so
that none gets into the model, and with it into what is printed. What a text quotes of an address is
of a form in which no password fits.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from consumer.credentials import readings
from consumer.foreign import is_fit

_HOST_AND_PORT: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,6})?"
_REST: Final = r"(?:/[A-Za-z0-9._-]{1,40}){0,8}/?(?:\?[a-z]{1,3}=[0-9]{1,20})?"
_QUOTABLE: Final = re.compile(rf"(?:[A-Za-z]{{2,10}}://)?{_HOST_AND_PORT}{_REST}")
_QUOTABLE_REST: Final = re.compile(_REST)


def bare(address: str, *, instead: str) -> str:
    """An address without the blanks around it.

    Raises:
        ValueError: it holds a user name or a password, which belong where `instead` says; or
            something that cannot be seen, such as a line end, or a blank within.
    """
    address = address.strip()
    if any("@" in each for each in readings(address)):
        raise ValueError(f"must not hold a user name or password; {instead}")
    if not is_fit(address) or " " in address:
        raise ValueError("must be one address, without blanks, line ends or invisible characters")
    return address


def split_url(url: str) -> tuple[SplitResult, int | None]:
    """Split a URL into its parts and its port.

    Raises:
        ValueError: a port that is no number up to 65535, or an unbalanced bracket.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: check the port and the brackets") from None
    if port == 0:
        raise ValueError("port 0 means no port; name the port that the server listens on")
    return parts, port


def is_quotable(address: str) -> bool:
    """Whether an address can hold no secret: only scheme, host, port, a plain path, a number."""
    return _QUOTABLE.fullmatch(address) is not None


def remove(rest: str) -> str:
    """The mend for an address with something behind its host, which is quoted where it is plain."""
    return f"remove {rest!r}" if _QUOTABLE_REST.fullmatch(rest) else "remove what follows it"
