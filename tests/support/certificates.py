"""Certificates for tests, made by the openssl program in tmp_path."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.services import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key."""

    cert_file: Path
    key_file: Path


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    assert program, "the tests of TLS need the program openssl"
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=PATIENCE)


class Authority:
    """A certificate authority of its own; `ca_file` is what clients trust."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.ca_file = directory / f"{name}.pem"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", f"/CN=test {name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", str(self._key), "-out", str(self.ca_file)),
        )

    def encrypted(self, pair: Certificate, *form: str) -> Certificate:
        """The same certificate, its key encrypted with a passphrase.

        Args:
            pair: certificate and key.
            form: command of openssl that writes the key, with its options.
        """
        key = pair.key_file.with_suffix(f".{form[0]}.encrypted")
        _openssl(*form, "-in", str(pair.key_file), "-passout", "pass:secret", "-out", str(key))
        return Certificate(pair.cert_file, key)

    def issue(
        self, name: str, names: str = "IP:127.0.0.1,DNS:localhost", days: int = 1
    ) -> Certificate:
        """A certificate for `names`; `days` may be negative: then it has expired."""
        key, request, cert, extensions = (
            self._directory / f"{name}.{end}" for end in ("key", "csr", "pem", "ext")
        )
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN=test {name}", "-keyout", str(key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.ca_file)),
            *("-CAkey", str(self._key), "-CAcreateserial", "-days", str(days)),
            *("-extfile", str(extensions), "-out", str(cert)),
        )
        return Certificate(cert, key)
