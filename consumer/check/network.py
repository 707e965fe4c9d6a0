"""Words for what goes wrong below the protocols: names, TCP, TLS."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

from consumer.check.report import PartError, one_line

# OpenSSL's X509_V_ERR_* numbers.
_EXPIRED: Final = {9, 10}
_WRONG_HOST: Final = {62, 64}
_WANTS_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")


def unreachable(
    error: OSError, *, host: str, port: int, key: str, trust: str, timeout: float
) -> PartError:
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
        return PartError(f"the name {host} is not known", f"correct {key}, or mend the DNS")
    if isinstance(error, ConnectionRefusedError):
        return PartError(
            f"nobody listens on {where}", f"start the server, or correct the port in {key}"
        )
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return PartError(
            f"{where} did not answer within {timeout:g} s",
            f"correct {key}, or open the firewall between",
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return PartError(
            f"{where} ended the connection at once",
            f"check that {key} has the right port, and a scheme with TLS exactly for a TLS port",
        )
    text = error.strerror or one_line(str(error)) or type(error).__name__
    return PartError(f"{where} cannot be reached: {text}", f"correct {key}, or mend the network")


def _tls(error: ssl.SSLError, where: str, key: str, trust: str) -> PartError:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return PartError(
                f"the certificate of {where} is not valid now: {error.verify_message}",
                "renew the server's certificate, or set this machine's clock",
            )
        if error.verify_code in _WRONG_HOST:
            return PartError(
                f"the certificate of {where} is for another host: {error.verify_message}",
                f"write the name that the certificate has into {key}",
            )
        return PartError(
            f"the certificate of {where} is not trusted: {error.verify_message}", trust
        )
    reason = error.reason or ""
    if any(part in reason for part in _WANTS_CERTIFICATE):
        return PartError(
            f"{where} ended the TLS handshake: {reason}",
            "set tls.cert_file and tls.key_file if the server asks for a client certificate",
        )
    return PartError(
        f"no TLS with {where}: {reason or 'the server ended the handshake'}",
        f"check that {key} has the TLS port, or a scheme without TLS",
    )
