"""TLS for both ports, from one certificate and key in PEM files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """A server certificate (with its chain) and its key.

    Clients of the SDK trust an authority of one's own through `SSL_CERT_FILE`.
    """

    cert_file: Path
    key_file: Path

    def for_grpc(self) -> Any:
        """Credentials for a gRPC port.

        Raises:
            OSError: a file cannot be read.
        """
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        return grpc.ssl_server_credentials([pair])

    def for_http(self) -> ssl.SSLContext:
        """A context for an HTTP port.

        Raises:
            OSError: a file cannot be read, or is no certificate or key.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert_file, self.key_file)
        return context
