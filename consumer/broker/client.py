"""How a paho client is made for a server of the configuration, and secured."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, overload

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from consumer.errors import TlsFileError
from consumer.network import check_pem_files

if TYPE_CHECKING:
    from consumer.config import Server

_Client = TypeVar("_Client", bound=mqtt.Client)

_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
"""Marks of an encrypted key in PEM: PKCS #8 (RFC 7468, section 11), older forms (RFC 1421)."""

_NO_CERTIFICATE: Final = "no certificate that can be read in it"


@overload
def mqtt_client(server: Server, client_id: str) -> mqtt.Client: ...
@overload
def mqtt_client(server: Server, client_id: str, make: type[_Client]) -> _Client: ...


def mqtt_client(
    server: Server, client_id: str, make: type[mqtt.Client] = mqtt.Client
) -> mqtt.Client:
    """A fresh paho client, not yet connected: protocol, session, credentials, TLS.

    It does not connect again by itself, and begins without a session. The certificate of the
    server and its name are verified. It never asks for the passphrase of a key: whoever waits for
    a connection would stand still.

    Args:
        server: where and as whom it will connect.
        client_id: its MQTT client id.
        make: class of the client.

    Raises:
        TlsFileError: a file of `server.tls` cannot be used; says which.
    """
    is_5 = server.protocol == "5"
    client = make(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        # MQTT 5 starts clean by a flag of CONNECT, which a new client object sets.
        clean_session=None if is_5 else True,
        protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
        reconnect_on_failure=False,
    )
    password = server.password.get_secret_value()
    if server.username or password:
        # paho sends a password only beside a user name, which may be empty: without one, None
        # would leave both out.
        client.username_pw_set(server.username, password or None)
    if server.uses_tls:
        tls = server.tls
        client.tls_set_context(_context(tls.ca_file, tls.cert_file, tls.key_file))
    return client


def _context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Verifies servers, as paho's own `tls_set` does, and shows a certificate if there is one.

    Not `ssl.create_default_context`: from Python 3.13 on that asks more of authorities
    (VERIFY_X509_STRICT) than those that plants make for themselves may have, and it writes the
    keys of sessions where SSLKEYLOGFILE says.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        _read("tls.ca_file", ca_file)
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError:
            raise _unusable("tls.ca_file", ca_file, _NO_CERTIFICATE) from None
    else:
        context.load_default_certs()
    if cert_file:
        _read("tls.cert_file", cert_file)
        key = _read("tls.key_file", key_file)
        try:
            # The empty password makes an encrypted key an error, not a question.
            context.load_cert_chain(cert_file, key_file, password="")
        except ssl.SSLError as error:
            raise _blame(cert_file, key_file, key, error) from None
    return context


def _read(key: str, name: str) -> bytes:
    """All of a file, which is small.

    Raises:
        TlsFileError: it cannot be read, or is none.
    """
    try:
        check_pem_files(name)
        return Path(name).read_bytes()
    except OSError as error:
        raise _unusable(key, name, error.strerror or str(error)) from None


def _blame(cert_file: str, key_file: str, key: bytes, error: ssl.SSLError) -> TlsFileError:
    """Which of a pair of files cannot be used: OpenSSL does not say it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert_file)
    except ssl.SSLError:
        return _unusable("tls.cert_file", cert_file, _NO_CERTIFICATE)
    if any(sign in key for sign in _ENCRYPTED):
        return _unusable("tls.key_file", key_file, "the key is encrypted")
    if not error.reason:
        return _unusable("tls.key_file", key_file, "no private key that can be read in it")
    return _unusable("tls.key_file", key_file, f"not the key of {cert_file} ({error.reason})")


def _unusable(key: str, name: str, why: str) -> TlsFileError:
    return TlsFileError(key, f"{name} cannot be used: {why}")
