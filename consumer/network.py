"""Words for what goes wrong below the protocols: names, TCP, TLS.

Libraries on top of these often do not say it: the Databricks SDK calls a certificate that is
not trusted an "error sending request".
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import os
import socket
import ssl
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

# OpenSSL's X509_V_ERR_* numbers.
_EXPIRED: Final = {9, 10}
_WRONG_HOST: Final = {62, 64}
_LONGEST: Final = 400
_MOST_PEM_BYTES: Final = 16 * 1024 * 1024

TRUST_ZEROBUS: Final = "name the PEM file of the authority that signed it in SSL_CERT_FILE"
"""The mend that makes a certificate authority known to the Databricks SDK and to Python."""

_WANTS_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(text: str) -> Address | None:
    """The IP address that a text is; None if it is none.

    An IPv4 address in the clothes of IPv6 (`::ffff:10.0.0.1`) is the IPv4 one.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes an answer that names another address for what it is: no answer."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Go nowhere else: the key in the request is for this server alone."""


def direct_opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """What asks one server over HTTP with a key: through no proxy, and following no redirect.

    An answer of another status than 200 to 299 raises `urllib.error.HTTPError`, redirects too.

    Args:
        context: of TLS; None for what Python trusts by itself.
    """
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
        _NoRedirect(),
    )


class Trouble(NamedTuple):
    """Why a connection fails, and how to mend it: two pieces of a sentence."""

    text: str
    mend: str


PROXY_PASSWORD_WANTED: Final = Trouble(
    "the proxy wants a name and a password",
    "write them into the proxy's address in the environment, for example "
    "https_proxy=http://user:password@proxy:3128",
)
_TUNNEL: Final = "Tunnel connection failed: "
"""How urllib says that a proxy did not let a TLS connection through."""


def proxies(host: str) -> list[str]:
    """The environment's variables that send connections to a host through a proxy."""
    names = [
        name
        for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
        if os.environ.get(name) or os.environ.get(name.upper())
    ]
    return [] if urllib.request.proxy_bypass(host) else names


def trouble_with(url: str, *, key: str, trust: str, timeout: float) -> Trouble | None:
    """Try to reach the server of an http or https URL: name, TCP, and TLS where there is any.

    Args:
        url: Where.
        key: The configuration key that says so.
        trust: How a certificate authority is made known to this client.
        timeout: How long the attempt may take, in seconds.

    Returns:
        What is wrong below HTTP; None if nothing is. Through a proxy only what it refuses is seen.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    host = parts.hostname or ""
    if proxies(host):
        return _refused_by_proxy(url, host, timeout)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((host, port), timeout) as connection:
            if parts.scheme != "http":
                context = ssl.create_default_context()
                context.set_alpn_protocols(["h2", "http/1.1"])
                context.wrap_socket(connection, server_hostname=host).close()
    except OSError as error:
        return unreachable(error, host=host, port=port, key=key, trust=trust, timeout=timeout)
    except ValueError as error:
        return Trouble(f"{url} is no address: {error}", f"correct {key}")
    return None


def tunnel_trouble(words: str, host: str) -> Trouble | None:
    """What a proxy means that did not let a TLS connection through, in the words of urllib.

    None for words about something else.
    """
    if not words.startswith(_TUNNEL):
        return None
    answer = words.removeprefix(_TUNNEL)
    if answer.startswith("407"):
        return PROXY_PASSWORD_WANTED
    text = f"the proxy does not let the connection through: HTTP {answer[:3]}"
    return Trouble(text, f"have {host} allowed there, or add it to no_proxy")


def _refused_by_proxy(url: str, host: str, timeout: float) -> Trouble | None:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the configuration's
    try:
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return PROXY_PASSWORD_WANTED if error.code == 407 else None
    except urllib.error.URLError as error:
        return tunnel_trouble(str(error.reason), host)
    except (OSError, ValueError, http.client.HTTPException):
        return None


def check_pem_files(*names: str) -> None:
    """Look at files with certificates and keys before OpenSSL reads them, which it does to the end.

    A pipe or a device may have none. Empty names are left out.

    Raises:
        OSError: one of them is missing, no file, or too large for what it should hold.
    """
    for name in filter(None, names):
        found = Path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", name)
        if found.st_size > _MOST_PEM_BYTES:
            raise OSError(errno.EFBIG, "is larger than 16 MiB: no certificates", name)


def one_line(text: str) -> str:
    """A text of another program on one line, cut to 400 characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else joined[:_LONGEST] + " ..."


def unreachable(
    error: OSError, *, host: str, port: int, key: str, trust: str, timeout: float
) -> Trouble:
    """Say why a connection could not be made.

    Args:
        error: What the connection attempt raised.
        host: Where it went.
        port: Where it went.
        key: The configuration key that says where.
        trust: How a certificate authority is made known to this client.
        timeout: How long the attempt was allowed to take, in seconds.
    """
    where = f"{host}:{port}"
    if isinstance(error, ssl.SSLError):
        return _tls(error, where, key, trust)
    if isinstance(error, socket.gaierror):
        return Trouble(f"the name {host} is not known", f"correct {key}, or mend the DNS")
    if isinstance(error, ConnectionRefusedError):
        return Trouble(
            f"nobody listens on {where}", f"start the server, or correct the port in {key}"
        )
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return Trouble(
            f"{where} did not answer within {timeout:g} s",
            f"correct {key}, or open the firewall between",
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return Trouble(
            f"{where} ended the connection at once",
            f"check that {key} has the right port, and a scheme with TLS exactly for a TLS port",
        )
    text = error.strerror or one_line(str(error)) or type(error).__name__
    return Trouble(f"{where} cannot be reached: {text}", f"correct {key}, or mend the network")


def _tls(error: ssl.SSLError, where: str, key: str, trust: str) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return Trouble(
                f"the certificate of {where} is not valid now: {error.verify_message}",
                "renew the server's certificate, or set this machine's clock",
            )
        if error.verify_code in _WRONG_HOST:
            return Trouble(
                f"the certificate of {where} is for another host: {error.verify_message}",
                f"write the name that the certificate has into {key}",
            )
        return Trouble(f"the certificate of {where} is not trusted: {error.verify_message}", trust)
    reason = error.reason or ""
    if any(part in reason for part in _WANTS_CERTIFICATE):
        return Trouble(
            f"{where} ended the TLS handshake: {reason}",
            "set tls.cert_file and tls.key_file if the server asks for a client certificate",
        )
    return Trouble(
        f"no TLS with {where}: {reason or 'the server ended the handshake'}",
        f"check that {key} has the TLS port, or a scheme without TLS",
    )
