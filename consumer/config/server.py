"""One MQTT server: address, credentials, TLS, what to subscribe to."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from consumer.config.addresses import bare, is_quotable, split_url
from consumer.config.narrow_filters import narrow_filters
from consumer.config.section import (
    Address,
    ConflictError,
    FileName,
    NumberAsText,
    SecretFile,
    Section,
    Template,
    Text,
    UserName,
)
from sparkplug import NAMESPACE, is_shared

_OF_POSTS: Final = "http"
DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_INSTEAD: Final = {"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "http": "mqtt", "https": "mqtts"}


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    if name == _OF_POSTS:
        raise ValueError(f"must not be {name}: in the ledger that stands for events over HTTP")
    return name


def _check_url(url: str) -> str:
    url = bare(url, instead="use username and password_file")
    if "://" not in url:
        known = url if is_quotable(url) else "host:port"
        raise ValueError(f"has no scheme; write mqtt://{known} or, for TLS, mqtts://{known}")
    parts, port = split_url(url)
    if parts.scheme in ("ws", "wss"):
        raise ValueError(
            "MQTT over WebSockets is not supported; use the server's mqtt or mqtts port"
        )
    if parts.scheme not in DEFAULT_PORTS:
        instead = _INSTEAD.get(parts.scheme)
        hint = f"; write {instead}:// for {parts.scheme}://" if instead else ""
        raise ValueError(f"the scheme must be mqtt or mqtts{hint}")
    if not parts.hostname:
        raise ValueError("has no host; write for example mqtt://localhost:1883")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end after host and port; topics belong under topics")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or DEFAULT_PORTS[parts.scheme]}"


def _check_filter(topic_filter: str) -> str:
    levels = topic_filter.split("/")
    if not topic_filter or "#" in "".join(levels[:-1]):
        raise ValueError("must be a topic filter: '#' may only be its last level")
    if any(len(level) > 1 and ("+" in level or "#" in level) for level in levels):
        raise ValueError("must be a topic filter: '+' and '#' stand alone in their level")
    return topic_filter


class TlsSection(Section):
    """Certificates of an mqtts:// connection."""

    ca_file: FileName = Field(
        default="",
        description="PEM file with the certificates to trust. Empty: those of the system.",
        examples=["/etc/ssl/certs/plant-ca.pem"],
    )
    cert_file: FileName = Field(
        default="",
        description="PEM file with the client's certificate chain, for servers that ask for one.",
    )
    key_file: FileName = Field(
        default="", description="PEM file with the key of `cert_file`, unencrypted."
    )

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "TlsSection":
        if bool(self.cert_file) != bool(self.key_file):
            missing = "cert_file" if self.key_file else "key_file"
            raise ConflictError(missing, "missing; cert_file and key_file go together")
        return self


class Server(Section):
    """One MQTT server. Several of them fan in."""

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="Names the server in metrics and logs and in `{server}`. Unique, and not "
        "`http`.",
        examples=["plant-a"],
    )
    site: str = Field(
        default="",
        description="Plant-wide name that redundant servers of one infrastructure share: the same "
        "edge node on two servers of one site is one edge node. Part of event_id.",
    )
    url: Annotated[str, AfterValidator(_check_url), Address] = Field(
        description="Address. `mqtt://` is plain text, `mqtts://` is TLS; ports 1883 and 8883 "
        "unless given.",
        examples=["mqtt://localhost:1883"],
    )
    username: Annotated[str, UserName] = Field(
        default="",
        description="User name. Empty: none is sent, or an empty one beside a password.",
        examples=["consumer"],
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        description="Password. Empty: none is sent.",
        examples=["${MQTT_PASSWORD}"],
    )
    password_file: Annotated[FileName, SecretFile] = Field(
        default="",
        description="File that holds the password instead; a trailing line end is cut off.",
        examples=["/run/secrets/mqtt"],
    )
    client_id: str = Field(
        default="",
        max_length=65535,
        description="MQTT client id. Empty: a random one, kept beside the spool so that a restart "
        "takes up its session.",
    )
    protocol: Annotated[Literal["5", "3.1.1"], NumberAsText] = Field(
        default="5", description="MQTT version."
    )
    tls: TlsSection = Field(default=TlsSection(), description="Certificates, for `mqtts://`.")
    topics: tuple[Annotated[str, AfterValidator(_check_filter)], ...] = Field(
        default=(f"{NAMESPACE}/#",),
        min_length=1,
        description="Topic filters to subscribe to. Holes in the `seq` of an edge node that they "
        "show in part are not noticed.",
    )
    include: tuple[Text, ...] = Field(
        default=(),
        description="Globs over `group/node/device/metric`; only what matches one of them is read. "
        "Empty: everything.",
    )
    exclude: tuple[Text, ...] = Field(
        default=(), description="Globs over `group/node/device/metric`; what matches is not read."
    )
    source_system_id: Template = Field(
        default="{group_id}/{edge_node_id}", description="Template of the column source_system_id."
    )

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts://")

    @property
    def host(self) -> str:
        """Host name or address, without the brackets of IPv6."""
        return split_url(self.url)[0].hostname or ""

    @property
    def port(self) -> int:
        """TCP port."""
        parts, port = split_url(self.url)
        return port or DEFAULT_PORTS[parts.scheme]

    @model_validator(mode="after")
    def _keys_agree(self) -> "Server":
        if not self.uses_tls and self.tls != TlsSection():
            raise ConflictError(
                "tls", "is set, but url is plain text; write mqtts:// or remove tls"
            )
        password = bool(self.password.get_secret_value())
        if password and not self.username and self.protocol == "3.1.1":
            raise ConflictError("username", "missing; MQTT 3.1.1 has no password without user name")
        return self

    def warnings(self) -> list[str]:
        """What is allowed but probably a mistake; each text begins with the key."""
        found = []
        if self.port == DEFAULT_PORTS["mqtts"] and not self.uses_tls:
            found.append("url: port 8883 is the port of TLS; did you mean mqtts://?")
        found += [
            f"topics: {topic} does not begin with {NAMESPACE}/; only Sparkplug B topics are read"
            for topic in self.topics
            if not is_shared(topic) and not topic.startswith(f"{NAMESPACE}/")
        ]
        return found + [f"topics: {text}" for text in narrow_filters(self.topics)]
