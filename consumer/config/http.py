"""The HTTP side: where it listens, and who may ask what."""

import ipaddress
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from consumer.config.addresses import bare, split_url
from consumer.config.section import (
    Address,
    ConflictError,
    FileName,
    SecretFile,
    Section,
    Text,
    wants_secrets,
)

LEAST_KEY_CHARACTERS: Final = 16
"""Shorter keys can be guessed."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_OLD_KEY: Final = "token"
_NO_KEY: Final = "local"


def _check_listen(listen: str) -> str:
    if not listen:
        return listen
    listen = bare(listen, instead="whoever calls needs none but a key of http.keys")
    parts, port = split_url(f"//{listen}")
    if not parts.hostname or port is None or parts.netloc != listen:
        raise ValueError("must be host:port, for example 127.0.0.1:8099; empty switches HTTP off")
    return listen


def _check_key_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    if name == _NO_KEY:
        raise ValueError(f"must not be {name}: in metrics that stands for who needs no key")
    return name


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for each in networks:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ValueError(
                "must be addresses or networks such as 10.7.0.12 or 10.7.0.0/16, without bits "
                "set beyond the prefix"
            ) from None
    return networks


def _check_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host):
            raise ValueError("must be names of this server, without scheme and port")
    return tuple(host.lower() for host in hosts)


def key_problem(key: str) -> str:
    """Why a text is not fit to be a key, without quoting it; empty if it is."""
    if len(key) < LEAST_KEY_CHARACTERS:
        return f"has fewer than {LEAST_KEY_CHARACTERS} characters; `openssl rand -hex 32` makes one"
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        return "has a blank, or a character that is not visible ASCII: it travels in a header"
    return ""


class HttpKey(Section):
    """One key that HTTP clients send as `Authorization: Bearer <key>`."""

    name: Annotated[str, AfterValidator(_check_key_name)] = Field(
        description="Names the key in metrics and in the audit log. Unique, and not `local`.",
        examples=["on-call"],
    )
    key: SecretStr = Field(
        default=SecretStr(""),
        description="The key itself, 16 characters or more.",
        examples=["${ON_CALL_KEY}"],
    )
    key_file: Annotated[FileName, SecretFile] = Field(
        default="",
        description="File that holds the key instead; a trailing line end is cut off. It is read "
        "again when it changes.",
        examples=["/run/secrets/on-call-key"],
    )
    role: Literal["reader", "ingest", "operator"] = Field(
        description="What the key is good for: reading, sending values to `/ingest`, or both and "
        "actions.",
        examples=["operator"],
    )
    source_system_id: str = Field(
        default="",
        description="Column source_system_id of rows that this key sends. Empty: "
        "`http.source_system_id`.",
    )
    addresses: Annotated[tuple[str, ...], AfterValidator(_check_networks)] = Field(
        default=(),
        description="Addresses and networks from which the key is taken. Empty: any.",
    )

    @model_validator(mode="after")
    def _key_is_fit(self, info: ValidationInfo) -> "HttpKey":
        if wants_secrets(info.context):
            key = self.key.get_secret_value()
            if not key:
                raise ConflictError("key_file", "missing; add it, the file that holds the key")
            if problem := key_problem(key):
                raise ConflictError("key_file" if self.key_file else "key", problem)
        return self


class HttpTls(Section):
    """Certificate that HTTP is served with."""

    cert_file: FileName = Field(
        default="", description="PEM file with the server's certificate chain. Empty: plain HTTP."
    )
    key_file: FileName = Field(
        default="", description="PEM file with the key of `cert_file`, unencrypted."
    )

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "HttpTls":
        if bool(self.cert_file) != bool(self.key_file):
            missing = "cert_file" if self.key_file else "key_file"
            raise ConflictError(missing, "missing; cert_file and key_file go together")
        return self


class Http(Section):
    """Health, metrics, web page and `/ingest`."""

    listen: Annotated[str, AfterValidator(_check_listen), Address] = Field(
        default="127.0.0.1:8099",
        description="Address `host:port`. Empty: no HTTP. Anything but loopback needs `keys`.",
    )
    hosts: Annotated[tuple[str, ...], AfterValidator(_check_hosts)] = Field(
        default=(),
        description="Names that browsers call this server by, beside those of the machine and of "
        "`listen`.",
    )
    metrics: Literal["roles", "open"] = Field(
        default="roles",
        description="Whether `/metrics` needs a key where anything does, or is open to anybody.",
    )
    tls: HttpTls = Field(default=HttpTls(), description="Certificate that HTTP is served with.")
    keys: tuple[HttpKey, ...] = Field(
        default=(),
        description="Keys of those who may ask ([http.md](http.md)). Without any, all is open to "
        "programs on this machine.",
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Of earlier releases: one more key, of the role `operator`.",
        examples=["${INGEST_TOKEN}"],
    )
    token_file: Annotated[FileName, SecretFile] = Field(
        default="",
        description="File that holds the token instead; a trailing line end is cut off.",
        examples=["/run/secrets/ingest-token"],
    )
    source_system_id: Text = Field(
        default="http", description="Column source_system_id of rows that came over HTTP."
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on; None when HTTP is switched off."""
        if not self.listen:
            return None
        parts, port = split_url(f"//{self.listen}")
        assert port is not None
        return parts.hostname or "", port

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine may reach it."""
        address = self.address
        return address is not None and address[0] not in _LOOPBACK

    @property
    def all_keys(self) -> tuple[HttpKey, ...]:
        """The keys, that of earlier releases among them, under the name `token`."""
        if not self.token.get_secret_value():
            return self.keys
        old = HttpKey.model_construct(
            name=_OLD_KEY,
            key=self.token,
            key_file=self.token_file,
            role="operator",
            source_system_id="",
            addresses=(),
        )
        return (*self.keys, old)

    @model_validator(mode="after")
    def _keys_agree(self, info: ValidationInfo) -> "Http":
        names = [each.name for each in self.keys]
        texts: set[str] = set()
        for index, each in enumerate(self.keys):
            if names.count(each.name) > 1 or (each.name == _OLD_KEY and self._has_token):
                raise ConflictError(
                    f"keys[{index}].name", "is used twice; give each key a name of its own"
                )
            text = each.key.get_secret_value()
            if text and (text in texts or text == self.token.get_secret_value()):
                raise ConflictError(
                    f"keys[{index}].key", "is also another one's; give each a key of its own"
                )
            texts.add(text)
        if self.is_exposed and wants_secrets(info.context) and not self.all_keys:
            raise ConflictError(
                "keys",
                "missing, and others than this machine may reach http.listen; add one, for "
                "example {name: on-call, role: operator, key_file: FILE}, or listen on 127.0.0.1",
            )
        return self

    @property
    def _has_token(self) -> bool:
        return bool(self.token.get_secret_value() or self.token_file)

    def warnings(self) -> list[str]:
        """What is allowed but to be changed, as `key: text`."""
        found = []
        if self._has_token:
            key = "token_file" if self.token_file else "token"
            found.append(
                f"{key}: is taken as one key of the role operator; write it as an item of "
                "http.keys, with the role that its owner needs"
            )
        if self.is_exposed and not self.tls.cert_file:
            found.append(
                "tls: keys travel in plain text to whoever asks from another machine; set "
                "http.tls, or let something in front of it speak TLS"
            )
        return found
