"""Says that a certificate is not trusted where the SDK says only that a request failed."""

from __future__ import annotations

import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

_HTTPS_PORT: Final = 443
_SECONDS: Final = 3.0


def distrusted(*urls: str) -> str:
    """What is wrong with the first certificate that is not trusted, and how to mend it.

    Asks each `https://` server for its certificate, at most three seconds long. Trusts whom
    the SDK trusts: the system's authorities, or those in the file named by SSL_CERT_FILE.

    Returns:
        Empty when nothing is wrong with certificates, or that cannot be found out.
    """
    for url in urls:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
        if parts.scheme != "https" or not host:
            continue
        try:
            with (
                socket.create_connection((host, port), _SECONDS) as connection,
                ssl.create_default_context().wrap_socket(connection, server_hostname=host),
            ):
                pass
        except ssl.SSLCertVerificationError as error:
            return (
                f"the certificate of {host}:{port} is not trusted: {error.verify_message}; "
                "name the PEM file of the authority that signed it in SSL_CERT_FILE"
            )
        except OSError:
            continue
    return ""
