"""What a gateway of Ignition 8.3 or later calls a resource, and the types of it used here.

Names of modules, types and fields are those of vendor documentation and of published
measurements with 8.3.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from consumer.credentials import masked
from consumer.network import one_line


class Kind(NamedTuple):
    """A type of resources: the id of the module, and the type's own."""

    module: str
    type: str

    @property
    def path(self) -> str:
        """As it stands in addresses and in folders."""
        return f"{self.module}/{self.type}"


TRANSMISSION: Final = "com.cirruslink.mqtt.transmission.gateway"
ENGINE: Final = "com.cirruslink.mqtt.engine.gateway"

HISTORY_STORE: Final = Kind(TRANSMISSION, "history-store")
SERVER_SET: Final = Kind(TRANSMISSION, "server-set")
SERVER: Final = Kind(TRANSMISSION, "server")
TRANSMITTER: Final = Kind(TRANSMISSION, "transmitter")
ENGINE_GENERAL: Final = Kind(ENGINE, "general")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as a gateway tells it.

    Attributes:
        name: empty for a singleton.
        enabled: of the resource itself; it does not stand in `config`.
        config: whole.
        signature: the lock of the next change.
        modified: when it was written last, in ms since 1970 UTC; None if the gateway does not say.
    """

    name: str
    enabled: bool
    config: dict[str, Any]
    signature: str
    description: str = ""
    modified: int | None = field(default=None, compare=False)


def read_resource(told: Any) -> Resource | None:
    """A resource from what a gateway answered; None if it is none."""
    if not isinstance(told, dict) or not isinstance(told.get("config"), dict):
        return None
    return Resource(
        name=str(told.get("name") or ""),
        enabled=told.get("enabled") is not False,
        config=told["config"],
        signature=str(told.get("signature") or ""),
        description=str(told.get("description") or ""),
        modified=_modified(told.get("attributes")),
    )


def _modified(attributes: Any) -> int | None:
    """`attributes.lastModification.timestamp`, which most types have, in ms."""
    last = attributes.get("lastModification") if isinstance(attributes, dict) else None
    text = last.get("timestamp") if isinstance(last, dict) else None
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def referenced(provider: str, name: str) -> dict[str, Any]:
    """A secret that the gateway looks up in one of its secret providers."""
    return {"type": "Referenced", "data": {"providerName": provider, "secretName": name}}


def is_reference(value: Any) -> bool:
    """Whether a value has the form of `referenced`."""
    return isinstance(value, dict) and value.get("type") == "Referenced"


def shown(name: str, value: Any) -> str:
    """A field's value for people, not longer than a few lines: secrets stay hidden."""
    if isinstance(value, dict) and value.get("type") == "Embedded":
        return "(a secret, encrypted in the gateway)"
    if is_reference(value):
        data = value.get("data")
        at = data if isinstance(data, dict) else {}
        text = f"(the secret {at.get('secretName')!r} of the provider {at.get('providerName')!r})"
        return one_line(text)
    if "password" in name.lower() and value:
        return "(a secret, not shown)"
    return one_line(masked(repr(value)))
